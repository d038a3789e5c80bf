"""What is explained: from a user's word for it to a number per sample."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter
from pellucid.errors import PellucidError, TargetError, quote_nearest
from pellucid.target_words import described, for_instance, named_truth, refuse_one_hot
from pellucid.types import Array, Outputs, TargetLike, is_array, shape_of

_EXAMPLES = (
    "A number, one number per sample, None (the predicted class), a class name, a pair (a, b) for"
    " why a rather than b, or a function of the outputs that returns one number per sample"
    " also works."
)


Form = tuple[bool, bool, bool]
"""Whether a target has classes, classes to compare with, and samples of the first of two."""


@dataclass(frozen=True)
class Target:
    """One score a sample: an output, a difference of two outputs, or a function of all.

    `chosen` and `against` are class indices `(n,)`. `first` says for which samples the first of
    the two classes of a model with one output is explained: minus the logit, or 1 − p where the
    output is a probability (`complement`). `paired` asks for the one rather than the other: of a
    logit, which is the difference of two already, that is the logit; of probabilities p − (1 − p).
    """

    chosen: np.ndarray | None
    against: np.ndarray | None
    function: Callable[[Outputs], Array] | None
    names: tuple[str, ...]
    first: np.ndarray | None = None
    complement: float = 0.0
    paired: bool = False

    def score(self, outputs: Outputs, adapter: Adapter, rows: np.ndarray) -> Array:
        """The explained number of each output row, `(m,)` float32; `rows[k]` is k's sample."""
        if self.function is None:
            picks = tuple(map(adapter.asarray, self.picks(rows)))
            return picked(outputs, adapter.xp, self.form, picks)
        score = _called(self.function, outputs, adapter)
        if isinstance(score, np.ndarray) and not isinstance(score, type(adapter.asarray(score))):
            raise TargetError(
                "Expected a target function to compute with the model's own arrays, got a NumPy"
                f" array back from outputs of a {adapter.backend} model: gradients cannot go"
                " through it.\n  Return outputs[:, 1], say, not np.asarray(outputs)[:, 1]."
            )
        shape = shape_of(score)
        if shape != (len(rows),):
            raise TargetError(
                f"Expected a target function to return one number per sample,"
                f" shape ({len(rows)},), got shape {shape}."
            )
        return adapter.xp.astype(score, adapter.xp.float32)

    @property
    def form(self) -> "Form":
        """Which of its parts a target has, for `picked`."""
        return self.chosen is not None, self.against is not None, self.first is not None

    def picks(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """The arguments of `picked` for these rows: class numbers, or a factor and a constant."""
        found = [
            np.asarray(index[rows], dtype=np.int64)[:, None]
            for index in (self.chosen, self.against)
            if index is not None
        ]
        if self.first is not None:
            first = self.first[rows].astype(np.float32)
            if self.paired and self.complement:
                found += [2 - 4 * first, 2 * first - 1]
            else:
                found += [1 - 2 * first, self.complement * first]
        return tuple(found)

    def recorded(self) -> np.ndarray | None:
        """The classes as a result records them: `(n,)`, or `(n, 2)` for pairs."""
        if self.chosen is None or self.against is None:
            return self.chosen
        return np.stack([self.chosen, self.against], axis=1)


def picked(outputs: Outputs, xp: Any, form: "Form", picks: tuple[Array, ...]) -> Array:
    """The score of each output row for a target of this form, by its `picks` as native arrays.

    All that varies from target to target is in `picks`, so that one compiled function serves all.
    """
    chosen, against, first = form
    if len(outputs.shape) == 1:
        score = outputs
    elif not chosen or int(outputs.shape[1]) == 1:
        score = xp.reshape(outputs, (-1,))
    else:
        score = _pick(xp, outputs, picks[0])
        if against:
            score = score - _pick(xp, outputs, picks[1])
    score = xp.astype(score, xp.float32)
    return score * picks[-2] + picks[-1] if first else score


def _called(function: Callable[[Outputs], Array], outputs: Outputs, adapter: Adapter) -> Array:
    try:
        return function(outputs)
    except Exception as error:
        if adapter.is_out_of_memory(error) or isinstance(error, PellucidError):
            raise
        raise TargetError(
            f"The target function raised {type(error).__name__}: {error}\n  It was given"
            f" {described(outputs)} and returns one number per sample, such as outputs[:, 1]."
        ) from error


def _pick(xp: Any, outputs: Array, column: Array) -> Array:
    return xp.reshape(xp.take_along_axis(outputs, column, axis=1), (-1,))


def resolve_target(
    target: TargetLike,
    outputs: Outputs,
    count: int,
    class_names: tuple[str, ...] | None,
    *,
    explained: str,
    to_numpy: Callable[[Array], np.ndarray],
) -> Target:
    """The `Target` that a user's `target` means for these outputs of `count` samples.

    Raises `TargetError` for a class that does not exist, a name that is unknown or stands for
    several classes, and for outputs that need a function to become one number.
    """
    if callable(target):
        name = getattr(target, "__name__", type(target).__name__)
        return Target(None, None, target, (name,) * count)
    target = named_truth(_in_numpy(target), class_names)
    shape = shape_of(outputs)
    if len(shape) not in {1, 2}:
        raise TargetError(
            f"The model returns {described(outputs)}, which need a function to become one number"
            f" per sample.\n  For instance: target=lambda outputs: {for_instance(outputs)}."
        )
    classes = 1 if len(shape) == 1 else int(shape[1])
    refuse_one_hot(target, classes, count)
    resolver = _Resolver(classes, class_names, count)
    if classes == 1:
        return resolver.single(target, explained)
    if target is None:
        chosen = np.argmax(to_numpy(outputs), axis=1).astype(np.int64)
        return Target(chosen, None, None, resolver.names(chosen))
    if isinstance(target, tuple) and len(target) == 2:
        return resolver.pair(resolver.indices(target[0]), resolver.indices(target[1]))
    as_array = target if isinstance(target, np.ndarray) else None
    if as_array is None and isinstance(target, Sequence) and not isinstance(target, str):
        pairs = [isinstance(t, tuple) and len(t) == 2 for t in target]
        if pairs and all(pairs):
            return resolver.pair(
                resolver.indices([t[0] for t in target]),  # type: ignore[index]
                resolver.indices([t[1] for t in target]),  # type: ignore[index]
            )
    if as_array is not None and as_array.ndim == 2 and as_array.shape[1] == 2:
        return resolver.pair(resolver.indices(as_array[:, 0]), resolver.indices(as_array[:, 1]))
    chosen = resolver.indices(target)
    return Target(chosen, None, None, resolver.names(chosen))


def _is_one(target: Any) -> bool:
    return isinstance(target, str) or not isinstance(target, Sized)


def _in_numpy(target: Any) -> Any:
    """Tensors of class numbers as arrays, arrays of one number as that number."""
    if is_array(target) and not isinstance(target, np.ndarray | np.generic):
        target = np.asarray(target)
    if isinstance(target, np.ndarray) and target.ndim == 0:
        target = target[()]
    return target.item() if isinstance(target, np.generic) else target


@dataclass(frozen=True)
class _Resolver:
    classes: int
    class_names: tuple[str, ...] | None
    count: int

    def name(self, index: int) -> str:
        if self.class_names is None:
            return f"class {index}" if self.classes > 1 else "the output"
        return self.class_names[index]

    def names(self, indices: np.ndarray) -> tuple[str, ...]:
        return tuple(self.name(int(i)) for i in indices)

    def pair(self, chosen: np.ndarray, against: np.ndarray) -> Target:
        same = np.flatnonzero(chosen == against)
        if same.size:
            raise TargetError(
                f"A pair asks why one class rather than another, but both are"
                f" {self.name(int(chosen[same[0]]))!r} for sample {same[0]}."
            )
        names = zip(self.names(chosen), self.names(against), strict=True)
        return Target(chosen, against, None, tuple(f"{a} rather than {b}" for a, b in names))

    def single(self, target: Any, explained: str) -> Target:
        """A model with one output: it is the only thing to explain."""
        named = self.class_names
        given = [target] * self.count if target is None or _is_one(target) else target
        a_pair = isinstance(given, tuple) and len(given) == 2
        rows = isinstance(given, np.ndarray | list | tuple) and not a_pair
        if named and len(named) == 2:
            pairs: list[Any] = [given] * self.count if a_pair else list(given) if rows else []
            if len(pairs) == self.count and all(
                isinstance(t, tuple) and len(t) == 2 for t in pairs
            ):
                return self._single_pair(pairs, named, explained)
        if rows and len(given) == self.count:
            found = [self._single_index(t) for t in given]
            chosen = [i for i in found if i is not None]
            if len(chosen) == self.count:
                names = tuple(named[i] if named else "the output" for i in chosen)
                first = np.array([len(named or ()) == 2 and i == 0 for i in chosen])
                complement = 1.0 if explained == "probability" else 0.0
                return Target(None, None, None, names, first if first.any() else None, complement)
        of_two = named and len(named) == 2
        also = f"None, 0 or {named[0]!r}, 1 or {named[1]!r}, or a pair" if of_two else "None or 0"  # type: ignore[index]
        raise TargetError(
            f"This model has one output, so the target is {also}, for all samples or one"
            f" a sample ({self.count}), got {target!r}."
        )

    def _single_pair(
        self, pairs: Sequence[tuple[Any, Any]], named: tuple[str, ...], explained: str
    ) -> Target:
        """Why one of two named classes rather than the other, of one output."""
        chosen = np.array([self.index(a, among=2) for a, _ in pairs])
        against = np.array([self.index(b, among=2) for _, b in pairs])
        names = self.pair(chosen, against).names
        complement = 1.0 if explained == "probability" else 0.0
        return Target(None, None, None, names, chosen == 0, complement, paired=True)

    def _single_index(self, target: Any) -> int | None:
        """The number of the class that a word or number stands for; the last for None.

        Two names are of the classes 0 and 1, of which the output speaks for the second; without
        them the output is number 0.
        """
        last = len(self.class_names or (None,)) - 1
        if isinstance(target, str):
            return self.index(target, among=last + 1)
        if target is None:
            return last
        is_number = isinstance(target, int | np.integer) and not isinstance(target, bool)
        return int(target) if is_number and 0 <= target <= last else None

    def indices(self, target: Any) -> np.ndarray:
        """`(n,)` class indices from one class for all samples or one a sample."""
        if isinstance(target, str | int | np.integer):
            return np.full(self.count, self.index(target), dtype=np.int64)
        given = target.tolist() if isinstance(target, np.ndarray) else target
        if isinstance(given, list | tuple | range) and len(given) == self.count:
            return np.array([self.index(t) for t in given], dtype=np.int64)
        raise TargetError(
            f"Expected one class or one a sample ({self.count}), got {target!r}.\n  {_EXAMPLES}"
        )

    def index(self, target: Any, among: int | None = None) -> int:
        classes = among or self.classes
        if isinstance(target, str):
            return self._index_of_name(target)
        if isinstance(target, bool) or not isinstance(target, int | np.integer):
            raise TargetError(f"{target!r} is no class.\n  {_EXAMPLES}")
        if not 0 <= target < classes:
            raise TargetError(
                f"No class {target} among the {classes} outputs of this model (0–{classes - 1}).\n"
                f"  {_EXAMPLES}"
            )
        return int(target)

    def _known(self, name: str) -> str:
        """The nearest names, and all where they are few."""
        names = self.class_names or ()
        near = quote_nearest(name, names)
        few = f"They are {', '.join(map(repr, names))}." if len(names) <= 12 else ""
        return f"{near} {few}".strip()

    def _index_of_name(self, name: str) -> int:
        if self.class_names is None:
            number = "None" if self.classes == 1 else f"a number (0–{self.classes - 1})"
            raise TargetError(
                f"No class named {name!r}: this model's classes have no names.\n"
                f"  wrap(model, class_names=[...]) gives them; {number} works without."
            )
        found = [i for i, known in enumerate(self.class_names) if known == name]
        if len(found) > 1:
            raise TargetError(
                f"{name!r} is the name of the classes {', '.join(map(str, found))}.\n"
                "  Give the number of the one you mean."
            )
        if not found:
            folded = [
                i for i, known in enumerate(self.class_names) if known.casefold() == name.casefold()
            ]
            first = [
                i
                for i, known in enumerate(self.class_names)
                if known.partition(",")[0].casefold() == name.casefold()
            ]
            for candidates in (folded, first):
                if len(candidates) == 1:
                    return candidates[0]
            raise TargetError(
                f"No class named {name!r} in the {len(self.class_names)} classes of this model.\n"
                f"  {f'{self._known(name)} {_EXAMPLES}'.strip()}"
            )
        return found[0]
