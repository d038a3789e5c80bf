"""An explanation in a notebook's cell: no script, no files, a little style of its own."""

import hashlib

import jinja2
import numpy as np

from pellucid.explanation import Explanation
from pellucid.plots.image import image_map, is_image, picture_of, signed_part
from pellucid.plots.scale import Scale
from pellucid.plots.style import elide, number, short_name
from pellucid.reports.cells import Bar, feature_bars, ramp, series_uri
from pellucid.reports.images import composed_uri
from pellucid.reports.words import meaning, percent, value_for


def explanation_html(explanation: Explanation, max_samples: int = 8) -> str:
    """The explanation as an HTML fragment of at most 1 MB, for `_repr_html_` and `to_html`."""
    part = explanation.parts[0]
    count = len(part.values)
    shown = range(min(count, max(max_samples, 0)))
    images = is_image(part)
    scale = None
    if images and len(shown):
        maps = [image_map(part, i) for i in shown]
        scale = Scale.of(maps, signed=signed_part(part))
    cards = [_card(explanation, i, scale) for i in shown]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pellucid.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scope = hashlib.sha256(np.ascontiguousarray(part.values[: len(shown)]).tobytes()).hexdigest()
    return environment.get_template("explanation.html.j2").render(
        scope=f"pellucid-{scope[:10]}",
        method=elide(explanation.method, 80),
        facts=_facts(explanation, scale),
        asks=meaning(explanation, 0)[0] if count else "",
        cards=cards,
        more=count - len(shown),
        warnings=[elide(w, 300) for w in explanation.warnings[:8]],
        ramp=ramp(scale.signed) if scale is not None else "",
        signed=scale is not None and scale.signed,
        top=number(scale.limit) if scale is not None else "",
    )


def _card(explanation: Explanation, sample: int, scale: Scale | None) -> dict[str, object]:
    """One sample: its picture or bars, and its line of words."""
    part = explanation.parts[0]
    uri, bars = "", list[Bar]()
    if scale is not None:
        uri = composed_uri(picture_of(part, sample), image_map(part, sample), scale)
    elif "step" in part.dims:
        uri = series_uri(explanation, sample)
    else:
        bars = list(feature_bars(explanation, sample, 0.0, count=6))
    gap = value_for(explanation.gap, sample)
    score = value_for(explanation.score, sample)
    line = "" if score is None else f"{explanation.explained} {number(score)}"
    if gap is not None:
        line += f", gap {percent(gap) if np.isfinite(gap) else 'not finite'}"
    return {
        "target": elide(short_name(explanation.target_names[sample]), 60),
        "uri": uri,
        "wide": scale is None,
        "bars": bars,
        "line": line,
        "found": elide(meaning(explanation, sample)[1], 400),
    }


def _facts(explanation: Explanation, scale: Scale | None) -> str:
    """One line of numbers below the title."""
    part = explanation.parts[0]
    counted = explanation.evaluations
    runs = [f"{n:,} {word}" for n, word in zip(counted, counted._fields, strict=True) if n]
    facts = [
        " × ".join(str(n) for n in part.values.shape),
        f"evaluations: {', '.join(runs) or 'none'}",
        f"{explanation.seconds:.2f} s",
        f"seed {explanation.seed}",
    ]
    if len(explanation.parts) > 1:
        facts.insert(0, f"first of {len(explanation.parts)} inputs")
    if scale is not None:
        facts.append(scale.words())
    return " · ".join(facts)
