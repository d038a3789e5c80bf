"""Counting evaluations where the model is called, so that no method has to be believed."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pellucid.adapters.protocol import Adapter, Cut, Intercept, LayerInfo, OperationInfo, Scores
from pellucid.errors import BudgetError
from pellucid.types import Array, Evaluations, Leaves, Outputs


class Tally:
    """Rows of all models that run while it is open: forward, backward, and through a part.

    With a `limit`, what would go beyond it is refused before it runs, with a `BudgetError`, and
    `refused` is True from then on. `once` are those of `spent` for what a model is asked once,
    whichever method needs it first (its layers, whether it can be run in part): whoever compares
    what methods cost leaves them out.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit, self.spent, self.once, self.refused = limit, 0, 0, False

    def ask(self, rows: int) -> None:
        """Raise `BudgetError` where so many more rows are not allowed."""
        if self.limit is not None and self.spent + rows > self.limit:
            self.refused = True
            raise BudgetError(
                f"The budget of {self.limit} evaluations does not hold {rows} more;"
                f" {self.spent} are spent."
            )


_OPEN: ContextVar[tuple[Tally, ...]] = ContextVar("open tallies", default=())


@contextmanager
def tallied(tally: Tally) -> Iterator[Tally]:
    """Count into `tally` whatever runs inside, explanations within explanations too."""
    token = _OPEN.set((*_OPEN.get(), tally))
    try:
        yield tally
    finally:
        _OPEN.reset(token)


@contextmanager
def asked_once() -> Iterator[None]:
    """What runs inside is remembered of the model, so that no later explanation runs it again."""
    with tallied(Tally()) as inside:
        yield
    count_once(inside)


def count_once(inside: Tally) -> None:
    """Let open tallies know that what `inside` counted is asked of the model once."""
    for tally in _OPEN.get():
        tally.once += inside.spent - inside.once


def _ask(rows: int) -> None:
    for tally in _OPEN.get():
        tally.ask(rows)


def _tell(rows: int) -> None:
    for tally in _OPEN.get():
        tally.spent += rows


class CountedModel:
    """An adapter's running verbs for one explanation, each row of input counted.

    `peel` is fixed for the whole explanation, so that every method explains the same number.
    """

    def __init__(self, adapter: Adapter, *, peel: bool) -> None:
        self.adapter = adapter
        self.peel = peel
        self._forward = self._backward = self._suffix = 0

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(self._forward, self._backward, self._suffix)

    def _count(self, forward: int = 0, backward: int = 0, suffix: int = 0) -> None:
        """Count rows, which open tallies may refuse: called before they run."""
        _ask(forward + backward + suffix)
        self._forward += forward
        self._backward += backward
        self._suffix += suffix
        _tell(forward + backward + suffix)

    def run(
        self,
        x: Leaves,
        *,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        self._count(int(x[0].shape[0]))
        return self.adapter.run(
            x, peel=self.peel, intercept=intercept, layers=layers, kinds=kinds, weights=weights
        )

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        value, aux, pullback = self.adapter.vjp(fn, x)
        rows = int(x[0].shape[0])

        def counted(cotangent: Array) -> Leaves:
            self._count(backward=rows)
            return pullback(cotangent)

        return value, aux, counted

    def compiled_gradients(
        self,
        x: Leaves,
        scores: Scores,
        form: Hashable,
    ) -> Callable[[Leaves, tuple[Array, ...]], tuple[Leaves, ...]] | None:
        """The adapter's compiled gradients, each row counted once forward and once a score back."""
        compiled = self.adapter.compiled_gradients(x, scores, form, peel=self.peel)
        if compiled is None:
            return None

        def counted(leaves: Leaves, arguments: tuple[Array, ...]) -> tuple[Leaves, ...]:
            rows = int(leaves[0].shape[0])
            _ask(2 * rows)  # how many scores there are, only the result tells: one, as a rule
            self._count(rows)
            found = compiled(leaves, arguments)
            self._backward += rows * len(found)
            _tell(rows * len(found))
            return found

        return counted

    def compiled(
        self,
        x: Leaves,
        function: Callable[..., tuple[Any, Any]],
        arguments: tuple[Any, ...],
        form: Hashable,
        *,
        forward: int,
        backward: int,
    ) -> tuple[Any, Any] | None:
        """See `Adapter.compiled`; counted as so many rows, whatever `function` does."""
        _ask(forward + backward)
        found = self.adapter.compiled(x, function, arguments, (form, self.peel))
        if found is not None:
            self._count(forward, backward)
        return found

    def cut(self, x: Leaves, layer: str) -> "CountedCut":
        self._count(int(x[0].shape[0]))
        return CountedCut(self.adapter.cut(x, layer, peel=self.peel), self.count_part)

    def layers(self, x: Leaves) -> tuple[LayerInfo, ...]:
        """The calls of layers in one run on `x`, which counts."""
        self._count(int(x[0].shape[0]))
        return self.adapter.layers(x)

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        """The operations of one run on `x`, which counts."""
        self._count(int(x[0].shape[0]))
        return self.adapter.operations(x)

    def count_part(self, rows: int, backward: int = 0) -> None:
        """Count rows of which only a part was run, by operations that were recorded here."""
        self._count(backward=backward, suffix=rows)


class CountedCut:
    """A cut whose runs of the upper part are counted."""

    def __init__(self, cut: Cut, count: Callable[..., None]) -> None:
        self._cut, self._count = cut, count
        self.value, self.outputs = cut.value, cut.outputs

    @property
    def affine(self) -> bool:
        """See `Cut.affine`."""
        return self._cut.affine

    def run(self, value: Array) -> Outputs:
        self._count(int(value.shape[0]))
        return self._cut.run(value)

    def gradient(
        self, scores: Scores, arguments: tuple[Array, ...], form: Hashable
    ) -> Array | None:
        """See `Cut.gradient`; counted as a run and a backward pass."""
        rows = int(self.value.shape[0])
        _ask(2 * rows)
        found = self._cut.gradient(scores, arguments, form)
        if found is not None:
            self._count(rows, rows)
        return found
