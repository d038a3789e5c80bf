"""An adapter that counts for itself how often the adapter inside is asked."""

from collections.abc import Callable
from typing import Any

from pellucid.adapters.protocol import Adapter, Cut
from pellucid.types import Array, Leaves, Outputs


class SpyCut(Cut):
    """A cut whose suffix runs are counted by its spy."""

    def __init__(self, cut: Cut, spy: "SpyAdapter") -> None:
        self._cut, self._spy = cut, spy
        self.value, self.outputs = cut.value, cut.outputs

    @property
    def affine(self) -> bool:
        """What the cut inside says."""
        return self._cut.affine

    def run(self, value: Array) -> Outputs:
        """The suffix, counted."""
        self._spy.counts[2] += int(value.shape[0])
        self._spy.asked = True
        return self._cut.run(value)


class SpyAdapter(Adapter):
    """Every fact and verb of another adapter; rows are counted in `counts`.

    `counts` holds rows run forward, backward, and above a cut. A copy shares the counts, since
    `explain` copies the adapter for each explanation.
    """

    def __init__(self, inside: Adapter) -> None:
        self.inside = inside
        self.counts = [0, 0, 0]
        self.asked = False
        self.framework, self.xp = inside.framework, inside.xp
        self.channel_axis, self.supports = inside.channel_axis, inside.supports
        self.class_names, self.feature_names = inside.class_names, inside.feature_names

    def run(self, x: Leaves, **options: Any) -> Outputs:
        """A run, its rows counted as forward."""
        self.counts[0] += int(x[0].shape[0])
        self.asked = True
        return self.inside.run(x, **options)

    def layers(self, x: Leaves | None = None) -> Any:
        """The layers; with inputs that is a run."""
        self.counts[0] += 0 if x is None else int(x[0].shape[0])
        return self.inside.layers(x)

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        """A cut, which runs the model once."""
        self.counts[0] += int(x[0].shape[0])
        return SpyCut(self.inside.cut(x, layer, peel=peel), self)

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        """A gradient; its pullback counts as backward where the model was run in `fn`."""
        before, self.asked = self.asked, False
        value, aux, pullback = self.inside.vjp(fn, x)
        through, rows = self.asked, int(x[0].shape[0])
        self.asked = before or through  # this may be a gradient inside of another

        def counted(cotangent: Array) -> Leaves:
            self.counts[1] += rows if through else 0
            return pullback(cotangent)

        return value, aux, counted

    def traced(self, fn: Callable[[Leaves], Any], x: Leaves) -> None:
        """As inside."""
        self.inside.traced(fn, x)

    @property
    def device(self) -> str:
        """As inside."""
        return self.inside.device

    @property
    def backend(self) -> str:
        """As inside."""
        return self.inside.backend

    @property
    def notes(self) -> tuple[str, ...]:
        """As inside."""
        return self.inside.notes

    @property
    def inputs(self) -> Any:
        """As inside."""
        return self.inside.inputs

    def channel_axis_of(self, rank: int) -> int:
        """As inside."""
        return self.inside.channel_axis_of(rank)

    def accept(self, x: Any) -> Leaves:
        """As inside."""
        return self.inside.accept(x)

    def restore(self, leaves: Any) -> Any:
        """As inside."""
        return self.inside.restore(leaves)

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        """As inside."""
        return self.inside.final_activation(x)

    def operations(self, x: Leaves) -> Any:
        """The inventory of one run, which counts."""
        self.counts[0] += int(x[0].shape[0])
        return self.inside.operations(x)

    def stop_gradient(self, a: Array) -> Array:
        """As inside."""
        return self.inside.stop_gradient(a)

    def custom_vjp(self, fn: Any, backward: Any) -> Any:
        """As inside."""
        return self.inside.custom_vjp(fn, backward)

    def weights(self, select: Any = None) -> dict[str, Array]:
        """As inside."""
        return self.inside.weights(select)

    def asarray(self, a: Any) -> Array:
        """As inside."""
        return self.inside.asarray(a)

    def to_numpy(self, a: Array) -> Any:
        """As inside."""
        return self.inside.to_numpy(a)

    def fingerprint(self) -> str:
        """As inside."""
        return self.inside.fingerprint()

    def is_out_of_memory(self, error: BaseException) -> bool:
        """As inside."""
        return self.inside.is_out_of_memory(error)
