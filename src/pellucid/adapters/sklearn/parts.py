"""What a fitted estimator is made of: the steps of its pipelines, and what each has learned."""

from collections.abc import Iterable, Iterator
from typing import Any

from pellucid.adapters.facts import Part
from pellucid.adapters.sklearn.boosters import NativeBooster
from pellucid.adapters.sklearn.learned import Learned, learned_by, members_of, some_trees

_FEW = 12
"""So many members of an ensemble are shown each; more of one kind are one part."""
_Ends = tuple[str, ...]


def parts_of(estimator: Any) -> tuple[Part, ...]:
    """The parts in the order in which rows go through them, those with parts in them first."""
    return tuple(_Walk().of(estimator, "", (), None)[0])


class _Walk:
    """Paths are the names that a user gave the steps, or the class of what has no name."""

    def of(
        self, estimator: Any, path: str, sources: _Ends, parent: str | None
    ) -> tuple[list[Part], _Ends]:
        """The parts of an estimator, and those that its result comes out of."""
        if estimator is None or isinstance(estimator, str):  # passthrough, drop
            return [], sources
        found = getattr(estimator, "best_estimator_", estimator)
        own = path or type(found.booster if isinstance(found, NativeBooster) else found).__name__
        if hasattr(found, "steps"):
            return self._chain(found, path, sources, parent)
        branches = list(_branches(found))
        if branches:
            return self._beside(found, own, branches, sources, parent)
        if hasattr(found, "coefs_") and hasattr(found, "activation"):
            return self._network(found, own, sources, parent)
        return [_leaf(found, own, sources, parent)], (own,)

    def _chain(
        self, pipeline: Any, path: str, sources: _Ends, parent: str | None
    ) -> tuple[list[Part], _Ends]:
        parts: list[Part] = []
        if path:
            parts.append(Part(path, type(pipeline).__name__, 0, None, sources, parent=parent))
        ends = sources
        for name, step in pipeline.steps:
            inner = f"{path}/{name}" if path else name
            more, ends = self.of(step, inner, ends, path or parent)
            parts += more
        return parts, ends

    def _beside(
        self, whole: Any, own: str, branches: list[tuple[str, Any]], sources: _Ends,
        parent: str | None,
    ) -> tuple[list[Part], _Ends]:  # fmt: skip
        kinds = {type(member) for _, member in branches}
        if len(branches) > _FEW and len(kinds) == 1:
            each = [learned_by(member) for _, member in branches]
            said = f"{len(branches)} × {kinds.pop().__name__}"
            return [_part(own, whole, Learned.of_all(each, said), sources, parent)], (own,)
        parts = [Part(own, type(whole).__name__, 0, _shape(whole), sources, parent=parent)]
        ends: list[str] = []
        for name, member in branches:
            more, out = self.of(member, f"{own}/{name}", sources, own)
            parts += more
            ends += out
        last = getattr(whole, "final_estimator_", None)
        if last is not None:
            more, out = self.of(last, f"{own}/final", tuple(dict.fromkeys(ends)), own)
            return [*parts, *more], out
        return parts, tuple(dict.fromkeys(ends))

    def _network(
        self, network: Any, own: str, sources: _Ends, parent: str | None
    ) -> tuple[list[Part], _Ends]:
        parts = [Part(own, type(network).__name__, 0, None, sources, parent=parent)]
        for i, (matrix, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
            last = i == len(network.coefs_) - 1
            path = f"{own}/{'output' if last else f'hidden {i + 1}'}"
            function = network.out_activation_ if last else network.activation
            parts.append(
                Part(
                    path, f"dense, {function}", matrix.size + bias.size, (None, matrix.shape[1]),
                    sources, matrix.size, own, kind_of_work="linear",
                )
            )  # fmt: skip
            sources = (path,)
        return parts, sources


def _branches(estimator: Any) -> Iterator[tuple[str, Any]]:
    """What works side by side in an estimator, by name."""
    if hasattr(estimator, "transformers_"):
        yield from ((name, step) for name, step, _ in estimator.transformers_ if step != "drop")
    elif hasattr(estimator, "transformer_list"):
        yield from ((name, step) for name, step in estimator.transformer_list if step != "drop")
    elif hasattr(estimator, "calibrated_classifiers_"):
        held = [c.estimator for c in estimator.calibrated_classifiers_]
        yield from _numbered(held)
    elif some_trees(estimator) is not None:
        return
    elif hasattr(estimator, "named_estimators_"):
        yield from estimator.named_estimators_.items()
    elif hasattr(estimator, "estimators_"):
        yield from _numbered(members_of(estimator))
    elif hasattr(estimator, "regressor_"):
        yield "regressor", estimator.regressor_
    elif hasattr(estimator, "estimator_") and hasattr(estimator.estimator_, "predict"):
        yield "estimator", estimator.estimator_


def _numbered(members: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((str(i), member) for i, member in enumerate(members))


def _leaf(estimator: Any, own: str, sources: _Ends, parent: str | None) -> Part:
    return _part(own, estimator, learned_by(estimator), sources, parent)


def _part(own: str, estimator: Any, found: Learned, sources: _Ends, parent: str | None) -> Part:
    kind = type(estimator).__name__
    if isinstance(estimator, NativeBooster):
        kind = f"{type(estimator.booster).__module__.partition('.')[0]} Booster"
    return Part(
        own, kind, found.parameters, _shape(estimator), sources, found.multiply_adds, parent,
        found.words, found.kind,
    )  # fmt: skip


def _shape(estimator: Any) -> tuple[int | None, ...] | None:
    """What comes out for each row, where a transformer tells the columns it makes."""
    if hasattr(estimator, "predict") or not hasattr(estimator, "get_feature_names_out"):
        return None
    try:
        return None, len(estimator.get_feature_names_out())
    except (ValueError, AttributeError, TypeError):  # it was not told the names, or makes none
        return None
