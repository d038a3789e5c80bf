"""A surrogate tree as SVG and as a piece of a web page: no script, no outside file."""

from html import escape
from typing import TYPE_CHECKING, Any

from pellucid.plain import readable
from pellucid.plots.marks import clean, to_svg
from pellucid.plots.style import ThemeName, theme_of
from pellucid.plots.tree_drawing import drawing_of

if TYPE_CHECKING:
    from pellucid.inside.surrogate_result import SurrogateTree


def tree_svg(found: "SurrogateTree", *, theme: ThemeName = "light", scale: float = 1.0) -> str:
    """The drawing of `pellucid.plots.tree` as one SVG element, `scale` times its usual size.

    Names are cut where they do not fit, and whole in the titles that show on hovering. Everything
    that came from a table or a model is escaped.
    """
    return to_svg(drawing_of(found, theme), scale=scale)


def tree_html(found: "SurrogateTree", *, theme: ThemeName = "light") -> str:
    """The drawing, with the rules and what each level buys in tables below it."""
    colours = theme_of(theme)
    fit = found.classes
    rules = "".join(
        f"<tr><td>{_text(rule.sentence)}</td><td>{rule.count}</td><td>{_share(rule.coverage)}</td>"
        f"<td>{_precision(rule) if fit else _number(rule.error)}</td></tr>"
        for rule in found.rules()
    )
    levels = "".join(
        f"<tr{_bold(row.depth == found.trade_off.chosen)}><td>{row.depth}</td><td>{row.leaves}</td>"
        f"<td>{row.fidelity:.3f}</td><td>{row.low:.3f} to {row.high:.3f}</td></tr>"
        for row in found.trade_off
    )
    right = "right of them" if fit else "off by (root mean square)"
    measure = "share of classes imitated" if fit else "R² of the imitation"
    return (
        f'<div style="background:{colours.ground};color:{colours.ink};'
        'font-family:system-ui,sans-serif;font-size:13px;padding:4px">'
        f'<div style="overflow-x:auto" tabindex="0" role="group" aria-label="{_text(found.title)}">'
        f"{tree_svg(found, theme=theme)}</div>"
        f"<details><summary>{len(found.leaves)} rules</summary><table><thead><tr>"
        f"<th>rule</th><th>rows learned from</th><th>of held-out rows</th><th>{right}</th>"
        f"</tr></thead><tbody>{rules}</tbody></table></details>"
        f"<details><summary>What each level buys ({measure}, {found.rows[1]} held-out rows)"
        "</summary><table><thead><tr><th>depth</th><th>leaves</th><th>fidelity</th>"
        f"<th>95 % interval</th></tr></thead><tbody>{levels}</tbody></table></details></div>"
    )


def _text(value: Any) -> str:
    return escape(clean(value))


def _bold(chosen: bool) -> str:
    return ' style="font-weight:600"' if chosen else ""


def _share(value: float) -> str:
    return f"{value:.0%}"


def _number(value: float) -> str:
    return "–" if value != value else readable(value)


def _precision(rule: Any) -> str:
    if not rule.held_out:
        return "–"
    return f"{rule.precision:.0%} ({rule.low:.0%} to {rule.high:.0%})"
