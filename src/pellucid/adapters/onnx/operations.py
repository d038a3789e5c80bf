"""What the operations of the ONNX standard are: kind and form, by name. Data only."""

from collections.abc import Mapping, Sequence

_BY_KIND: Mapping[tuple[str, str], str] = {
    ("linear", "convolution"): "Conv ConvTranspose FusedConv ConvInteger QLinearConv DeformConv",
    ("linear", "dense"): "Gemm MatMul FusedMatMul FusedGemm MatMulInteger QLinearMatMul MatMulNBits"
    " Einsum LinearClassifier LinearRegressor",
    ("activation", "relu"): "Relu",
    ("activation", "sigmoid"): "Sigmoid",
    ("activation", "tanh"): "Tanh",
    ("activation", "erf"): "Erf",
    ("activation", "clip"): "Clip",
    ("activation", "power"): "Pow Sqrt Exp",
    ("activation", ""): "LeakyRelu Elu Selu Celu PRelu ThresholdedRelu HardSigmoid HardSwish"
    " Softplus Softsign Mish Gelu FastGelu QuickGelu BiasGelu Swish Abs Log Reciprocal Sin Cos",
    ("norm", "affine_norm"): "BatchNormalization",
    ("norm", "layer_norm"): "LayerNormalization SkipLayerNormalization",
    ("norm", "instance_norm"): "InstanceNormalization",
    ("norm", "group_norm"): "GroupNormalization",
    ("norm", "rms_norm"): "RMSNormalization SimplifiedLayerNormalization",
    ("norm", ""): "LRN LpNormalization MeanVarianceNormalization Normalizer",
    ("softmax", "softmax"): "Softmax",
    ("softmax", "log_softmax"): "LogSoftmax",
    ("pool", "maximum"): "MaxPool GlobalMaxPool ReduceMax",
    ("pool", "minimum"): "ReduceMin",
    ("route", "move"): "Identity Dropout Cast CastLike Reshape Flatten Squeeze Unsqueeze Transpose"
    " Slice Split Pad Expand Tile Concat DepthToSpace SpaceToDepth",
    ("route", ""): "AveragePool GlobalAveragePool ReduceMean ReduceSum Resize Upsample Where Gather"
    " GatherND GatherElements QuantizeLinear DequantizeLinear",
    ("rnn", ""): "LSTM GRU RNN",
    ("attention", ""): "Attention MultiHeadAttention GroupQueryAttention",
    ("opaque", ""): "If Loop Scan",
    ("add", ""): "Add Sub Sum Mean",
    ("mul", "product"): "Mul",
    ("mul", "quotient"): "Div",
    ("add", "maximum"): "Max",
    ("add", "minimum"): "Min",
}
_KINDS = {name: known for known, names in _BY_KIND.items() for name in names.split()}
_PRODUCTS = frozenset(
    "Gemm MatMul FusedMatMul FusedGemm MatMulInteger QLinearMatMul Einsum".split()
)
_BESIDE_A_CONSTANT = {
    "Add": ("bias", ""), "Sub": ("bias", ""), "Sum": ("bias", ""),
    "Mul": ("linear", "scale"), "Div": ("linear", "scale"),
    "Max": ("activation", "clip"), "Min": ("activation", "clip"),
}  # fmt: skip

SHAPES = frozenset({"Shape", "Size"})
"""Operations whose result depends on the shape of their input alone."""
STEPPING = frozenset({"LSTM", "GRU", "RNN"})
SETTINGS: Mapping[str, frozenset[int]] = {
    "Clip": frozenset({1, 2}),
    "Resize": frozenset({1, 2, 3}),
    "Upsample": frozenset({1}),
    "Pad": frozenset({1, 2, 3}),
    "Dropout": frozenset({1, 2}),
    "Pow": frozenset({1}),
}
"""Inputs that say how an operation is to work: numbers of the graph's author, not learned ones."""
STATISTICS: Mapping[str, frozenset[int]] = {"BatchNormalization": frozenset({3, 4})}
"""Inputs that were measured on data, which frameworks do not call parameters."""


def kind_of(name: str, live: Sequence[bool]) -> tuple[str, str]:
    """Kind and form of an operation, which inputs depend on the model's inputs considered."""
    constant = sum(live) < 2
    if name in _PRODUCTS and not constant:
        return "mul", "product"
    if constant and name in _BESIDE_A_CONSTANT and len(live) > 1:
        # A constant over what moves is no scale.
        return ("activation", "power") if name == "Div" and live[1] else _BESIDE_A_CONSTANT[name]
    if name == "Gather" and not live[0]:
        return "lookup", ""
    return _KINDS.get(name, ("other", ""))
