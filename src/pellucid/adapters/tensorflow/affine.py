"""Whether what a traced model computes above a layer is an affine function of the layer's value."""

from collections.abc import Iterable

from pellucid.adapters.tensorflow.graph import Program, Step
from pellucid.adapters.tensorflow.operations import SHAPES

SUMS: frozenset[str] = frozenset(
    (
        "Identity IdentityN EnsureShape Reshape Squeeze ExpandDims Transpose Pad PadV2 ConcatV2"
        " Pack Unpack Split SplitV Slice StridedSlice Tile BroadcastTo ReverseV2 Cast Mean Sum"
        " AvgPool AvgPool3D Add AddV2 AddN Sub Neg BiasAdd BiasAddV1"
    ).split()
)
"""Affine in all of their arguments together, where sizes and axes do not depend on the layer."""

PRODUCTS: dict[str, tuple[int, ...]] = {
    "Mul": (0, 1),
    "RealDiv": (0,),
    "MatMul": (0, 1),
    "BatchMatMul": (0, 1),
    "BatchMatMulV2": (0, 1),
    "BatchMatMulV3": (0, 1),
    "Conv2D": (0,),
    "Conv3D": (0,),
    "DepthwiseConv2dNative": (0,),
    "FusedBatchNorm": (0,),
    "FusedBatchNormV2": (0,),
    "FusedBatchNormV3": (0,),
}
"""Affine in one of the arguments at these places, where no other depends on the layer."""


def is_affine(program: Program, stop: int, wanted: Iterable[int]) -> bool:
    """Whether the values `wanted` are known to be affine in the value `stop`."""
    wanted = tuple(wanted)
    affine, bent = {stop}, set[int]()
    for index in sorted(program.needed(wanted, (stop,))):
        step = program.steps[index]
        reads = program.reads(step)
        if any(v in bent for v in reads):
            bent.update(step.outputs)
        elif any(v in affine for v in reads) and step.type not in SHAPES:
            (affine if _keeps(program, step, affine) else bent).update(step.outputs)
    return all(v in affine for v in wanted)


def _keeps(program: Program, step: Step, affine: set[int]) -> bool:
    """Whether a step's results are affine in the layer's value if those of its inputs are."""
    if step.index in program.custom or not all(
        program.tensors[v].dtype.is_floating for v in (*step.outputs, *step.inputs) if v in affine
    ):
        return False
    if not all(program.tensors[v].dtype.is_floating for v in step.outputs):
        return False
    if step.type in SUMS:
        return True
    at = [i for i, v in enumerate(step.inputs) if v in affine]
    if step.type.startswith("FusedBatchNorm") and step.operation.get_attr("is_training"):
        return False
    return len(at) == 1 and at[0] in PRODUCTS.get(step.type, ())
