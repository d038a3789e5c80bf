"""What a picture calls a method: its name, the rules it went by, and where it had none."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.explanation import Explanation
from pellucid.plots.scale import WITHOUT_TARGET
from pellucid.plots.style import Theme, axes_width, elide, say_below, short_name, wrap

ONE_LINE = 64
"""Characters of a title on a picture of usual width."""

Drawn = TypeVar("Drawn", bound=Axes | Figure)


def method_words(explanation: Explanation) -> str:
    """A method's name and, in a few words, the rules or the head that it went by."""
    return elide(", ".join([elide(explanation.method, 30), *_how(explanation)]), 72)


def method_of(method: str, target: str) -> str:
    """A method's words and what it is asked of, on two lines where one would leave the picture."""
    between = ":\n" if len(method) + len(target) > ONE_LINE else ": "
    return f"{method}{between}{target}"


def method_and_target(explanation: Explanation, sample: int) -> str:
    """What a picture of one sample shows: by which method, of which class."""
    named = explanation.method not in WITHOUT_TARGET
    target = short_name(explanation.target_names[sample]) if named else "of no class"
    return method_of(method_words(explanation), elide(target, 40))


def row_words(name: str, row: Sequence[Explanation]) -> str:
    """The name of a row of a grid, and what it does not say of the rules of its explanations."""
    said = dict.fromkeys(words for e in row for words in _how(e))
    return ", ".join([name, *(words for words in said if words not in name)])


def say_uncovered(drawn: Drawn, rows: Mapping[str, Sequence[Explanation]]) -> Drawn:
    """Write below a picture which operations had no rule, row by row where rows have names."""
    for name, row in rows.items():
        met = dict.fromkeys(op for e in row for op in e.provenance.get("uncovered", ()))
        if met:
            of = f"{elide(name, 30)}: " if name else ""
            words = elide(", ".join(met), 90)
            say_below(drawn, f"{of}plain gradient, for want of a rule, at {words}")
    return drawn


def name_map(axes: Axes, explanation: Explanation, sample: int, theme: Theme) -> None:
    """Say above a map by which method it is, of what, in lines of the map's width."""
    across = max(int(11 * axes_width(axes)), 18)
    words = wrap(method_and_target(explanation, sample), across, 4)
    axes.set_title(words, color=theme.ink, fontsize=10, parse_math=False)


def _how(explanation: Explanation) -> list[str]:
    given, words = explanation.parameters, []
    rules = given.get("composite", given.get("rule"))
    if rules is not None:
        words.append(rules if isinstance(rules, str) else "own rules")
    if given.get("head") is not None:
        words.append(f"head {given['head']}")
    elif isinstance(given.get("heads"), str):
        words.append(f"{given['heads']} of heads")
    if explanation.provenance.get("uncovered"):
        words.append("partly plain gradient")
    return words
