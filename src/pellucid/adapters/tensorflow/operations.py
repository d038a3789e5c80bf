"""What each TensorFlow operation does to relevance, by type. Data only.

The kind of an operation also depends on which of its inputs are live: an `AddV2` of two live
inputs is a residual, with one it is a bias; see `kind_of`.
"""


def _each(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


KINDS: dict[str, str] = {
    **_each(
        "linear",
        "Conv Conv2D Conv3D DepthwiseConv2dNative Conv2DBackpropInput Conv3DBackpropInput"
        " Conv3DBackpropInputV2 SparseTensorDenseMatMul Cumsum FFT IFFT RFFT IRFFT FFT2D"
        " RFFT2D XlaConvV2",
    ),
    **_each("product", "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum XlaDotV2 Cross"),
    **_each("bias", "BiasAdd BiasAddV1"),
    **_each("add", "Add AddV2 AddN Sub"),
    **_each(
        "activation",
        "Relu Relu6 LeakyRelu Elu Selu Sigmoid Tanh Softplus Softsign Abs Pow Square Sqrt"
        " Rsqrt Exp Expm1 Log Log1p Erf Erfc Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh"
        " Atanh Neg Sign Floor Ceil Round Rint Reciprocal Inv ClipByValue Erfinv Lgamma"
        " Digamma",
    ),
    **_each(
        "norm",
        "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN L2Loss"
        " BatchNormWithGlobalNormalization",
    ),
    **_each("softmax", "Softmax LogSoftmax"),
    **_each(
        "pool",
        "MaxPool MaxPoolV2 MaxPool3D MaxPoolWithArgmax Max Min Maximum Minimum SegmentMax"
        " UnsortedSegmentMax TopK TopKV2 FractionalMaxPool Dilation2D",
    ),
    **_each(
        "mul",
        "Mul MulNoNan Div RealDiv DivNoNan Xdivy SquaredDifference FloorMod Prod Select"
        " SelectV2 Atan2 Xlogy",
    ),
    **_each(
        "route",
        "Identity IdentityN StopGradient PreventGradient Snapshot EnsureShape Reshape Squeeze"
        " ExpandDims Transpose Pad PadV2 MirrorPad ConcatV2 Concat Pack Unpack Split SplitV"
        " Slice StridedSlice Gather GatherV2 GatherNd Tile BroadcastTo Reverse ReverseV2"
        " ReverseSequence Roll Cast Mean Sum AvgPool AvgPool3D ResizeBilinear ResizeBicubic"
        " ResizeNearestNeighbor ResizeArea CropAndResize SpaceToDepth DepthToSpace"
        " SpaceToBatchND BatchToSpaceND SpaceToBatch BatchToSpace ExtractImagePatches"
        " MatrixTranspose InvertPermutation MatrixDiagV3 MatrixDiagPartV3 MatrixBandPart"
        " CheckNumerics CheckNumericsV2 ParallelConcat DynamicStitch DynamicPartition"
        " ScatterNd TensorScatterUpdate TensorScatterAdd SegmentSum SegmentMean"
        " UnsortedSegmentSum TensorListFromTensor TensorListGetItem TensorListSetItem"
        " TensorListStack TensorListReserve TensorListPushBack TensorListConcatV2 Real Imag"
        " Complex ImageProjectiveTransformV3 ScaleAndTranslate PlaceholderWithDefault"
        " DebugIdentityV2",
    ),
    **_each("rnn", "CudnnRNN CudnnRNNV2 CudnnRNNV3 LSTMBlockCell GRUBlockCell"),
    **_each("lookup", "ResourceGather ResourceGatherNd OneHot"),
    **_each("opaque", "While StatelessWhile If StatelessIf Case StatelessCase"),
}

FORMS: dict[str, str] = {
    "Relu": "relu",
    "Relu6": "relu6",
    **_each(
        "product",
        "Mul MulNoNan MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum XlaDotV2 Conv Conv2D"
        " Conv3D DepthwiseConv2dNative Conv2DBackpropInput Conv3DBackpropInput"
        " Conv3DBackpropInputV2 XlaConvV2",
    ),
    **_each("quotient", "Div RealDiv"),
    "SquaredDifference": "squared_difference",
    **_each("select", "Select SelectV2"),
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    **_each(
        "affine_norm",
        "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 BatchNormWithGlobalNormalization",
    ),
    **_each(
        "maximum",
        "MaxPool MaxPoolV2 MaxPool3D Max Maximum SegmentMax UnsortedSegmentMax",
    ),
    **_each("minimum", "Min Minimum"),
    "Sigmoid": "sigmoid",
    **_each("tanh", "Tanh Softsign"),
    **_each("erf", "Erf Erfc"),
    "ClipByValue": "clip",
    "Rsqrt": "rsqrt",
    **_each("power", "Pow Square Sqrt Exp Expm1 Log Log1p Reciprocal Inv Neg"),
    **_each(
        "move",
        "Identity Snapshot EnsureShape Reshape Squeeze ExpandDims Transpose Cast BatchToSpaceND"
        " SpaceToBatchND BatchToSpace SpaceToBatch CheckNumerics",
    ),
}
"""What an operation computes, in the words of `Operation.form`."""

LINEAR_FORMS: dict[str, str] = {
    **_each(
        "convolution",
        "Conv Conv2D Conv3D DepthwiseConv2dNative Conv2DBackpropInput Conv3DBackpropInput"
        " Conv3DBackpropInputV2 XlaConvV2",
    ),
    **_each("dense", "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum XlaDotV2"),
    **_each("scale", "Mul MulNoNan Div RealDiv DivNoNan"),
}
"""The same for an operation of one live input that is linear in it."""

CALLS: frozenset[str] = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Calls of a function graph, opened where they stand."""

LOOPS: frozenset[str] = frozenset({"While", "StatelessWhile"})
BRANCHES: frozenset[str] = frozenset({"If", "StatelessIf"})

READS: frozenset[str] = frozenset({"ReadVariableOp"})
"""How a weight enters the graph; a lookup reads rows of it by `ResourceGather`."""

SHAPES: frozenset[str] = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
"""Operations that see only the shape of their input, so that nothing live leaves them."""

SCATTERED: dict[str, int] = {
    **dict.fromkeys(
        "TensorScatterUpdate TensorScatterAdd TensorScatterSub TensorScatterMax"
        " TensorScatterMin".split(),
        1,
    ),
    "ScatterNd": 0,
}
"""Operations that write to places, and which of their inputs says to which."""

STOPS: frozenset[str] = frozenset({"StopGradient", "PreventGradient"})
"""Operations that hide the derivative of what passes them."""

DATA_SIZED: frozenset[str] = frozenset(
    _each(
        "sized",
        "Where Unique UniqueV2 UniqueWithCounts DynamicPartition NonMaxSuppressionV3"
        " NonMaxSuppressionV4 NonMaxSuppressionV5 RaggedRange StringSplitV2 ListDiff",
    )
)
"""Operations whose output has a size that depends on the numbers, not on shapes."""

FINAL: dict[str, str] = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
"""Operations that turn logits into what a user calls a prediction."""

PASS: frozenset[str] = frozenset(
    _each(
        "route",
        "Identity IdentityN StopGradient PreventGradient Snapshot Cast EnsureShape Reshape"
        " Squeeze ExpandDims Transpose CheckNumerics",
    )
)
"""Steps the walk back from an output may cross without changing what the numbers mean."""

CONSTANT_ARGUMENTS: dict[str, tuple[tuple[int, str], ...]] = {
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "Cumsum"), ((1, "axis"),)),
    "Reshape": ((1, "shape"),),
    "Transpose": ((1, "permutation"),),
    "Pad": ((1, "padding"),),
    "PadV2": ((1, "padding"), (2, "value")),
    "MirrorPad": ((1, "padding"),),
    "ConcatV2": ((-1, "axis"),),
    "ExpandDims": ((1, "axis"),),
    "GatherV2": ((2, "axis"),),
    "Split": ((0, "axis"),),
    "SplitV": ((1, "sizes"), (2, "axis")),
    "Slice": ((1, "begin"), (2, "size")),
    "StridedSlice": ((1, "begin"), (2, "end"), (3, "strides")),
    "Tile": ((1, "multiples"),),
    "ReverseV2": ((1, "axis"),),
}
"""Constant inputs that are settings in other frameworks: (position, name) by operation type."""

RENAMED: dict[str, str] = {
    "dilations": "dilation",
    "explicit_paddings": "explicit_padding",
    "ksize": "kernel_size",
    "keep_dims": "keepdims",
    "adj_x": "transpose_a",
    "adj_y": "transpose_b",
    "squeeze_dims": "axis",
}


def kind_of(name: str, live: tuple[bool, ...]) -> str:
    """The kind of an operation of this type whose inputs are live as given."""
    kind = KINDS.get(name, "other")
    several = sum(live) > 1
    if kind == "product":
        return "mul" if several else "linear"
    if kind in ("add", "bias"):
        return "add" if several else "bias"
    if name in ("Maximum", "Minimum", "Pow"):
        return kind if several else "activation"
    if name in ("Gather", "GatherV2", "GatherNd") and not live[0]:
        return "lookup"  # rows of a table, by token
    if name in ("RealDiv", "Div", "DivNoNan") and live and not live[0]:
        return "activation"  # a constant over x bends
    if name == "Prod":
        return "other"  # a product of many
    if name in ("SquaredDifference", "FloorMod", "Atan2", "Xlogy", "Xdivy"):
        return "mul" if several else "activation"
    if name in ("Select", "SelectV2"):
        return "mul" if several else "activation"  # a kink, where the condition is of the input
    if kind == "mul":
        return "mul" if several else "linear"
    if kind == "linear" and several:
        return "mul"  # by filters that depend on the inputs too
    if kind == "norm" and several:
        return "other"  # by statistics or weights that do
    return kind


def form_of(name: str, kind: str, live: tuple[bool, ...]) -> str:
    """What an operation of this type computes where it is of this kind."""
    if kind == "bias" and name == "Sub" and not live[0]:
        return "mirror"
    return (LINEAR_FORMS if kind == "linear" else FORMS).get(name, "")
