"""What an explanation has to be: weights on the four axes, and limits it must keep."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_nearest
from pellucid.methods.registry import make_method, method_class
from pellucid.standard.metric import AXES, Metric, metric_named

USUAL_WEIGHTS = {"interpretability": 1.0, "credibility": 2.0, "speed": 0.5}
USUAL_METRICS = ("I1", "I2", "I3", "C1", "C2", "C3")

Space = tuple[tuple[str, Mapping[str, tuple[Any, ...]]], ...]
"""Methods, each with the values that its parameters may take."""


@dataclass(frozen=True)
class Goal:
    """What the explanation of a model has to be, for `search` to find it.

    `weights` of the axes, by name; an axis that is not named weighs nothing. Limits that must be
    kept, each None for no limit: `seconds` for one sample, warm; `evaluations` of the model a
    sample, forward and backward; `memory` in MiB that one sample's explanation takes at most;
    `gap`, of completeness, which methods that claim none do not keep; `minimum`, the median that a
    metric must reach, by name or identifier (of a metric of which less is better: that it may not
    exceed). `metrics` are what is judged by (None: I1, I2, I3, C1, C2, C3; with masks I4 too).

    `methods` is where to search (None: what runs on the model, see `pellucid.search`): names,
    pairs `(name, {parameter: values})`, or a dict of such, where a list is what to choose from and
    anything else one value. `budget` caps the evaluations of the model that the search may spend.

    Raises `InputError` for an unknown axis, metric or method, and for a limit that is no number.

    >>> goal = Goal({"credibility": 1}, evaluations=100, methods={"occlusion": {"window": [3, 5]}})
    >>> Goal.from_toml(goal.to_toml()) == goal
    True
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(USUAL_WEIGHTS))
    seconds: float | None = None
    evaluations: float | None = None
    memory: float | None = None
    gap: float | None = None
    minimum: Mapping[str, float] = field(default_factory=dict)
    metrics: Sequence[str] | None = None
    methods: Any = None
    budget: int | None = None

    def __post_init__(self) -> None:
        _check_weights(self.weights)
        for name in ("seconds", "evaluations", "memory", "gap", "budget"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise InputError(f"Expected {name} to be a number above 0 or None, got {value!r}.")
        if not isinstance(self.minimum, Mapping):
            raise InputError(
                f'Expected minimum to be a dict such as {{"srg": 0.2}}, got {self.minimum!r}.'
            )
        for name, value in self.minimum.items():
            metric_named(name)
            if not _is_number(value):
                raise InputError(f"Expected the limit of {name} to be a number, got {value!r}.")
        if self.metrics is not None:
            names = [self.metrics] if isinstance(self.metrics, str) else list(self.metrics)
            if not names:
                raise InputError("Expected the names of metrics, or None for the usual ones.")
            object.__setattr__(self, "metrics", tuple(metric_named(n).name for n in names))
        if self.methods is not None:
            object.__setattr__(self, "methods", space_of(self.methods))

    def asked(self, *, masks: bool) -> tuple[Metric, ...]:
        """The metrics to judge by, those with a limit included."""
        usual = (*USUAL_METRICS, "I4") if masks else USUAL_METRICS
        names = [*(self.metrics or usual), *self.minimum]
        return tuple(dict.fromkeys(metric_named(name) for name in names))

    @classmethod
    def from_toml(cls, source: str | Path) -> "Goal":
        """The goal that a TOML file, or a text in TOML, states.

        Keys are the fields; `[[methods]]` has the key `name`, and parameters, where an array is
        what to choose from. Raises `InputError` for anything else.
        """
        text = _text(source)
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"The goal is not TOML: {error}.") from error
        known = [f.name for f in fields(cls)]
        for key in given:
            if key not in known:
                raise InputError(
                    f"A goal has no {key!r}. {quote_nearest(key, known)}\n"
                    f"  It has {', '.join(known)}."
                )
        return cls(**given)

    def to_toml(self) -> str:
        """The goal as TOML; raises `InputError` where a parameter cannot be written in it."""
        lines = [
            f"{name} = {_toml(value)}"
            for name in ("seconds", "evaluations", "memory", "gap", "budget", "metrics")
            if (value := getattr(self, name)) is not None
        ]
        lines += ["", "[weights]", *(f"{k} = {_toml(v)}" for k, v in self.weights.items())]
        if self.minimum:
            lines += ["", "[minimum]", *(f"{k} = {_toml(v)}" for k, v in self.minimum.items())]
        for name, parameters in self.methods or ():
            lines += ["", "[[methods]]", f"name = {_toml(name)}"]
            lines += [f"{k} = {_toml(v)}" for k, v in parameters.items()]
        return "\n".join(lines).lstrip("\n") + "\n"


def space_of(given: Any) -> Space:
    """Methods and the values of their parameters, checked.

    Raises `InputError` for what is no such thing, `MethodError` for unknown methods, parameters
    and values.
    """
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping):
        given = list(given.items())
    found = [_entry(entry) for entry in given] if isinstance(given, Sequence) else []
    if not found:
        raise InputError(
            'Expected methods to search, such as ["saliency", ("occlusion", {"window": [4, 8]})],'
            f" got {given!r}."
        )
    return tuple(found)


def _entry(entry: Any) -> tuple[str, Mapping[str, tuple[Any, ...]]]:
    if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
        entry = (entry["name"], {k: v for k, v in entry.items() if k != "name"})
    if isinstance(entry, str):
        entry = (entry, {})
    fits = isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], str)
    if not fits or not isinstance(entry[1], Mapping):
        raise InputError(
            'Expected the name of a method or a pair such as ("occlusion", {"window": [4, 8]}),'
            f" got {entry!r}."
        )
    name, parameters = entry
    method_class(name)
    values = {k: _alternatives(v) for k, v in parameters.items()}
    for key, own in values.items():
        if not own:
            raise InputError(f"{name}: nothing to choose from for {key}.")
        for value in own:
            make_method(name, {key: value})
    return name, values


class _Choice(tuple[Any, ...]):
    """Values to choose from, as told apart from a tuple that is one value."""


def _alternatives(given: Any) -> _Choice:
    if isinstance(given, _Choice):
        return given
    # What TOML can hold inside of an array is a value, such as a range.
    values = (
        [tuple(v) if isinstance(v, list) else v for v in given]
        if isinstance(given, list)
        else [given]
    )
    return _Choice(values)


def _check_weights(weights: Any) -> None:
    if not isinstance(weights, Mapping):
        raise InputError(
            f'Expected weights to be a dict such as {{"credibility": 2, "speed": 1}}, got'
            f" {weights!r}."
        )
    for axis, weight in weights.items():
        if axis not in AXES:
            raise InputError(
                f"No axis {axis!r}. {quote_nearest(str(axis), AXES)}\n"
                f"  The axes are {', '.join(AXES)}."
            )
        if not _is_number(weight) or weight < 0:
            raise InputError(f"Expected the weight of {axis} to be 0 or more, got {weight!r}.")
    if not any(weights.values()):
        raise InputError("Expected a weight above 0 for one axis at least.")


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))


def _text(source: str | Path) -> str:
    if isinstance(source, str) and (not source.strip() or "\n" in source or "=" in source):
        return source
    try:
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The goal {source} cannot be read: {error}.") from error


def _toml(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_escaped(c) for c in value) + '"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(v) for v in value)}]"
    raise InputError(f"TOML holds no {type(value).__name__}: this goal cannot be written.")


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
