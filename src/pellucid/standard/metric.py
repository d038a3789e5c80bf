"""What a metric is: a small function, and what it declares of itself."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from pellucid.errors import MethodError, quote_nearest

if TYPE_CHECKING:
    from pellucid.standard.case import Case

Axis = Literal["interpretability", "credibility", "scalability", "speed"]
AXES: tuple[Axis, ...] = ("interpretability", "credibility", "scalability", "speed")
Need = Literal["forward", "explainer", "masks", "weights"]
NEEDS: tuple[Need, ...] = ("forward", "explainer", "masks", "weights")
Scores = np.ndarray | Mapping[str, np.ndarray]
Function = Callable[["Case"], Scores]
F = TypeVar("F", bound=Callable[..., Scores])


@dataclass(frozen=True)
class Metric:
    """A score or a gate of one explanation, sample by sample.

    `function(case)` returns `(n,)` numbers, NaN where a sample has none, or one such array for
    each way of removing features, by name. `ideal` is the value that counts as 1 where utilities
    are asked for (0 is what the random control reaches); None where there is no such value. A
    gate's numbers are passed where they are at most (better="lower") or at least `limit`.
    """

    name: str
    axis: Axis
    better: Literal["higher", "lower"]
    function: Function
    needs: frozenset[Need] = frozenset()
    identifier: str = ""
    limits: tuple[float, float] = (-np.inf, np.inf)
    ideal: float | None = None
    limit: float | None = None
    told: frozenset[str] = frozenset()
    """Ways that say how a number came about and are no score."""
    upward: frozenset[str] = frozenset()
    """Ways that are told of which more is better; the other told ones have no better way."""
    utility_of: str = ""
    """Ends the names of the ways that utilities are of, where the score's own unit is no fit."""
    without: str = ""
    """Where a sample has no number (NaN), to follow "has no number where"."""
    cost: str = ""
    source: str = ""

    @property
    def is_gate(self) -> bool:
        """Whether it passes or fails, and stays out of every average."""
        return self.limit is not None

    @property
    def what(self) -> str:
        """One sentence, the first of the function's own description."""
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def is_told(self, way: str) -> bool:
        """Whether a way only says how a number came about, and counts in no rank or limit."""
        return way in self.told or bool(self.utility_of and way.endswith(self.utility_of))

    def direction(self, way: str) -> str:
        """Which way is better: "higher", "lower", or "" of what only says how it came about."""
        if way in self.upward:
            return "higher"
        return "" if self.is_told(way) else self.better

    def scored(self, ways: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
        """The ways that are scores, with their numbers."""
        return [(way, values) for way, values in ways.items() if not self.is_told(way)]

    def for_utility(self, ways: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
        """The ways that are scores, with the numbers that their utility is made of."""
        return [(way, ways[way + self.utility_of]) for way, _ in self.scored(ways)]

    def passes(self, values: np.ndarray) -> np.ndarray:
        """Whether each sample passes the gate; NaN does not."""
        if self.limit is None:
            raise MethodError(f"{self.name} is a score, not a gate: it has no limit.")
        with np.errstate(invalid="ignore"):
            return values <= self.limit if self.better == "lower" else values >= self.limit


_REGISTERED: dict[str, Metric] = {}
_BUILT_IN: set[str] = set()
_ENTRY_POINTS_READ: list[bool] = []


def register_metric(
    name: str,
    *,
    axis: Axis = "credibility",
    better: Literal["higher", "lower"] = "higher",
    needs: Collection[Need] = (),
    identifier: str = "",
    limits: tuple[float, float] = (-np.inf, np.inf),
    ideal: float | None = None,
    limit: float | None = None,
    told: Collection[str] = (),
    upward: Collection[str] = (),
    utility_of: str = "",
    without: str = "",
    cost: str = "",
    source: str = "",
) -> Callable[[F], F]:
    """Make a function of a `Case` a metric known by `name`, wherever metrics are named.

    The function returns one number a sample, `(n,)`: see `Case` for what it may ask. `needs` says
    what must be there: "forward" (it runs the model), "explainer" (it makes explanations anew),
    "masks" (where the objects are) or "weights"; where that is missing the metric is skipped with
    a reason. `told` names ways that are shown and count in no utility, rank or limit; `upward`
    those of them of which more is better. With
    `utility_of`, utilities are of the ways `way + utility_of`, told beside each `way`, and have no
    bounds: for scores whose unit may be next to nothing. `without` says where a sample has no
    number (NaN), for the scorecard to tell: "the map is constant".

    Raises `MethodError` for a name that is built in or no identifier, and for an axis, a direction
    or a need that there is not.

    >>> @register_metric("largest_share", axis="interpretability", better="higher")
    ... def largest_share(case):
    ...     return abs(case.positions).max(axis=1) / abs(case.positions).sum(axis=1)
    >>> pellucid.evaluate(model, x, ["saliency"], standard=["largest_share"]).metrics[0].name
    'largest_share'
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise MethodError(f"A metric's name is an identifier such as 'my_metric', got {name!r}.")
    if name in _BUILT_IN:
        raise MethodError(f"{name!r} is a built-in metric; choose another name.")
    needed = frozenset(needs)
    for given, known, word in (({axis}, AXES, "axis"), (needed, NEEDS, "needs"),
                               ({better}, ("higher", "lower"), "better")):  # fmt: skip
        if not given <= set(known):
            raise MethodError(f"Expected {word} of {', '.join(known)}, got {sorted(given)}.")

    def register(function: F) -> F:
        _REGISTERED[name] = Metric(
            name, axis, better, function, needed, identifier, limits, ideal, limit,
            frozenset(told), frozenset(upward), utility_of, without, cost,
            source or f"{function.__module__}.{function.__qualname__}",
        )  # fmt: skip
        return function

    return register


def unregister_metric(name: str) -> None:
    """Forget a metric that is not built in; nothing happens where there is none."""
    if name not in _BUILT_IN:
        _REGISTERED.pop(name, None)


def seal_built_in() -> None:
    """Called once, after the metrics that ship have registered themselves."""
    _BUILT_IN.update(_REGISTERED)


def registered_metrics() -> Mapping[str, Metric]:
    """All metrics by name, those of installed plug-ins (`pellucid.metrics`) included."""
    if not _ENTRY_POINTS_READ:
        _ENTRY_POINTS_READ.append(True)
        for point in entry_points(group="pellucid.metrics"):
            if point.name not in _REGISTERED:
                _register_plug_in(point)
    return _REGISTERED


def _register_plug_in(point: EntryPoint) -> None:
    """A plug-in that cannot be loaded costs its own metric, not all others."""
    try:
        point.load()  # a decorated function registers itself
        if point.name not in _REGISTERED:
            raise MethodError(
                f"it registers no metric {point.name!r}: use pellucid.register_metric"
            )
    except Exception as error:
        warnings.warn(
            f"The metric {point.name!r} of the plug-in {point.value!r} cannot be loaded:"
            f" {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )


def metric_named(name: str) -> Metric:
    """The metric of this name, or of this identifier ("C1").

    Raises `MethodError` with the nearest names where there is none.
    """
    for known in (_REGISTERED, registered_metrics()):
        for metric in known.values():
            if name and name in {metric.name, metric.identifier}:
                return metric
    raise MethodError(
        f"No metric {name!r}. {quote_nearest(str(name), _REGISTERED)}\n"
        f"  Known: {', '.join(sorted(_REGISTERED))}."
    )


CONTROLS = {"C8", "controls"}
"""Names of the gate that is asked through the scores that it judges by."""
JUDGED_BY = ("srg", "subset_correlation")


def metrics_named(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of these names, once each; "C8" or "controls" are those that controls lose in.

    Raises `MethodError` as `metric_named` does.
    """
    wide = [own for name in names for own in (JUDGED_BY if name in CONTROLS else (name,))]
    return tuple(dict.fromkeys(metric_named(name) for name in wide))


def default_metrics() -> tuple[Metric, ...]:
    """Those of the standard, in its order: what has an identifier."""
    return tuple(sorted((m for m in _REGISTERED.values() if m.identifier), key=_place))


def _place(metric: Metric) -> tuple[int, str, str]:
    return AXES.index(metric.axis), metric.identifier[0], metric.identifier
