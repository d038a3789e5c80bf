"""What follows from intercepting layers, written once: record, patch, gradient at a layer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pellucid.adapters.protocol import LAYERS_ONLY, Adapter, Operation, OperationInfo
from pellucid.types import Array, Leaves, Outputs


def record(
    adapter: Adapter, x: Leaves, layers: Sequence[str], *, peel: bool = True
) -> tuple[Outputs, dict[str, Array]]:
    """The outputs of a run, and what each of `layers` returned in it, by path."""
    values: dict[str, Array] = {}

    def keep(op: Operation) -> Array:
        values[numbered(op)] = value = op()
        return value

    outputs = adapter.run(x, peel=peel, intercept=keep, layers=layers, kinds=LAYERS_ONLY)
    return outputs, values


def info_of(op: Operation, shape: tuple[int, ...] | None) -> OperationInfo:
    """An operation as an inventory lists it."""
    return OperationInfo(
        op.index, op.kind, op.name, op.path, op.call, shape, op.live, op.form, op.sources
    )


def numbered(op: Operation) -> str:
    """The name of a layer call: its path, with `#2` for a second one."""
    return op.path if op.call == 1 else f"{op.path}#{op.call}"


def patch(
    adapter: Adapter, x: Leaves, values: Mapping[str, Array], *, peel: bool = True
) -> Outputs:
    """The outputs of a run in which each layer of `values` returned the array given."""
    return adapter.run(
        x,
        peel=peel,
        intercept=lambda op: values[numbered(op)],
        layers=tuple(values),
        kinds=LAYERS_ONLY,
    )


def layer_gradient(
    adapter: Adapter,
    x: Leaves,
    layer: str,
    score: Callable[[Outputs], Array],
    *,
    peel: bool = True,
) -> tuple[Array, Array]:
    """What a layer returned, and ∂score/∂(that), by a zero probe: out + p, derived in p at 0."""
    activation = record(adapter, x, [layer], peel=peel)[1]
    (path, value), *_ = activation.items()
    probe = adapter.xp.zeros_like(value)

    def probed(leaves: Leaves) -> tuple[Array, Any]:
        outputs = adapter.run(
            x,
            peel=peel,
            intercept=lambda op: op() + leaves[0],
            layers=(path,),
            kinds=LAYERS_ONLY,
        )
        return score(outputs), None

    explained, _, pullback = adapter.vjp(probed, (probe,))
    return value, pullback(adapter.xp.ones_like(explained))[0]
