"""What each torch function does to relevance, by name. Data only.

The kind of an operation also depends on which of its inputs are live: an `add` of two live
inputs is a residual, with one it is a bias; see `kind_of`.
"""

KINDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
            " bilinear addmm baddbmm"
        ).split(),
        "linear",
    ),
    **dict.fromkeys(
        "matmul __matmul__ __rmatmul__ mm bmm einsum tensordot inner mv dot".split(), "product"
    ),
    **dict.fromkeys(
        (
            "relu relu6 gelu silu sigmoid logsigmoid log_sigmoid tanh hardswish hardsigmoid"
            " hardtanh leaky_relu elu selu celu softplus softsign mish prelu rrelu threshold"
            " _threshold tanhshrink clamp clip clamp_min clamp_max abs pow square sqrt rsqrt exp"
            " log log1p expm1 erf sin cos neg __neg__ __pow__ reciprocal hardshrink softshrink"
        ).split(),
        "activation",
    ),
    **dict.fromkeys(
        (
            "batch_norm layer_norm group_norm instance_norm rms_norm linalg_vector_norm linalg_norm"
        ).split(),
        "norm",
    ),
    **dict.fromkeys("softmax log_softmax logsumexp".split(), "softmax"),
    **dict.fromkeys("scaled_dot_product_attention".split(), "attention"),
    **dict.fromkeys(
        (
            "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d"
            " adaptive_max_pool3d amax max maximum fmax minimum fmin amin min"
        ).split(),
        "pool",
    ),
    **dict.fromkeys(
        "mul __mul__ __rmul__ multiply div __truediv__ __rtruediv__ divide where".split(), "mul"
    ),
    **dict.fromkeys("add __add__ __radd__ sub __sub__ __rsub__ rsub subtract".split(), "add"),
    **dict.fromkeys(
        (
            "reshape view view_as flatten unflatten permute transpose swapaxes movedim cat concat"
            " stack chunk split split_with_sizes unbind __getitem__ pad roll expand expand_as"
            " contiguous clone to float half double type type_as squeeze unsqueeze repeat"
            " repeat_interleave tile narrow index_select gather take_along_dim T mT real flip"
            " dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout detach"
            " mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
            " adaptive_avg_pool3d interpolate upsample pixel_shuffle pixel_unshuffle unfold fold"
            " channel_shuffle cumsum identity __get__ t select diagonal swapdims moveaxis hstack"
            " vstack dstack column_stack broadcast_to reshape_as tensor_split ravel rot90 tril triu"
            " masked_select scatter scatter_add index_add setitem _pack_padded_sequence"
            " _pad_packed_sequence"
        ).split(),
        "route",
    ),
    **dict.fromkeys("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell".split(), "rnn"),
    **dict.fromkeys("multi_head_attention_forward norm normalize softmin".split(), "composite"),
    **dict.fromkeys("embedding embedding_bag one_hot".split(), "lookup"),
}

FORMS: dict[str, str] = {
    "relu": "relu",
    "relu6": "relu6",
    **dict.fromkeys(
        "matmul __matmul__ __rmatmul__ mm bmm einsum tensordot inner mv dot mul __mul__ __rmul__"
        " multiply bilinear linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d"
        " conv_transpose3d".split(),
        "product",
    ),
    **dict.fromkeys("div __truediv__ divide true_divide".split(), "quotient"),
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "logsumexp": "logsumexp",
    "batch_norm": "affine_norm",
    "layer_norm": "layer_norm",
    "group_norm": "group_norm",
    "instance_norm": "instance_norm",
    "rms_norm": "rms_norm",
    **dict.fromkeys("linalg_vector_norm linalg_norm".split(), "euclidean_norm"),
    **dict.fromkeys(
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d"
        " adaptive_max_pool3d amax max maximum fmax".split(),
        "maximum",
    ),
    **dict.fromkeys("amin min minimum fmin".split(), "minimum"),
    "where": "select",
    "masked_fill": "select",
    "scaled_dot_product_attention": "dot_product_attention",
    **dict.fromkeys("sigmoid hardsigmoid".split(), "sigmoid"),
    **dict.fromkeys("tanh softsign".split(), "tanh"),
    "erf": "erf",
    **dict.fromkeys("clamp clip hardtanh".split(), "clip"),
    "rsqrt": "rsqrt",
    **dict.fromkeys(
        "pow __pow__ square sqrt exp log log1p expm1 reciprocal neg __neg__".split(), "power"
    ),
    **dict.fromkeys(
        "reshape reshape_as view view_as flatten unflatten ravel permute transpose t T mT swapaxes"
        " swapdims movedim moveaxis contiguous clone squeeze unsqueeze identity dropout dropout1d"
        " dropout2d dropout3d alpha_dropout feature_dropout to float half double type"
        " type_as".split(),
        "move",
    ),
}
"""What a function computes, in the words of `Operation.form`."""

LINEAR_FORMS: dict[str, str] = {
    **dict.fromkeys(
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split(),
        "convolution",
    ),
    **dict.fromkeys(
        "linear matmul __matmul__ __rmatmul__ mm bmm einsum tensordot inner mv dot addmm baddbmm"
        " bilinear".split(),
        "dense",
    ),
    **dict.fromkeys("mul __mul__ __rmul__ multiply div __truediv__ divide".split(), "scale"),
}
"""The same for a function of one live input that is linear in it."""

METADATA: frozenset[str] = frozenset(
    (
        "shape dtype device grad_fn requires_grad ndim is_cuda is_cpu is_quantized is_sparse"
        " is_mkldnn is_mps is_meta is_leaf layout grad names output_nr _version itemsize nbytes"
        " is_nested is_vulkan is_xla is_xpu is_mtia is_maia is_ipu volatile name data_ptr"
    ).split()
)
"""Properties of a tensor that are facts about it; every other property is an operation."""

QUESTIONS: frozenset[str] = frozenset(
    (
        "size dim numel stride is_contiguous is_floating_point is_complex data_ptr storage_offset"
        " item tolist numpy __bool__ __int__ __float__ __index__ __len__ __repr__ __format__"
        " __str__ __hash__ __contains__ get_device is_same_size nelement element_size"
        " untyped_storage requires_grad_ is_nonzero equal allclose has_names storage __array__"
        " __dlpack__ retain_grad register_hook is_inference ndimension __iter__"
    ).split()
)
"""Calls that ask something of a tensor and return no new one."""

SOURCES: frozenset[str] = frozenset(
    (
        "new_zeros new_ones new_full new_empty new_tensor zeros_like ones_like full_like empty_like"
        " rand_like randn_like eq ne lt le gt ge __eq__ __ne__ __lt__ __le__ __gt__ __ge__"
        " logical_and logical_or logical_not logical_xor __and__ __or__ __invert__ isnan isinf"
        " isfinite argmax argmin argsort isposinf isneginf isclose signbit not_equal greater"
        " greater_equal less less_equal any all nonzero count_nonzero searchsorted bucketize"
        " _nested_tensor_from_mask_left_aligned"
    ).split()
)
"""Calls that are given a tensor and take no number of it that has a derivative.

What they return is true or false, or whole numbers (the last one asks whether padding is on the
right, as an encoder does with its mask).
"""

FINAL: dict[str, str] = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
}
"""Functions that turn logits into what a user calls a prediction."""

PASS: frozenset[str] = frozenset(
    (
        "reshape view flatten squeeze unsqueeze contiguous clone to float double half type"
        " type_as dropout identity expand unflatten"
    ).split()
)
"""Steps the walk back from an output may cross without changing what the numbers mean."""


def kind_of(name: str, live: tuple[bool, ...]) -> str:
    """The kind of a function of this name whose inputs are live as given."""
    kind = KINDS.get(name, "other")
    several = sum(live) > 1
    if kind == "product":
        return "mul" if several else "linear"
    if kind == "add":
        return "add" if several else "bias"
    if name in {"where", "masked_fill"}:
        return "mul" if several else "activation"  # a kink, where the condition is of the input
    if name == "__rtruediv__" or (name in _QUOTIENTS and len(live) > 1 and not live[0]):
        return "mul" if several else "activation"  # a constant over x bends
    if kind == "mul":
        return "mul" if several else "linear"
    if kind == "linear" and several:
        return "mul"  # by weights that depend on the inputs too
    if (kind == "norm" and several) or (kind == "lookup" and any(live)):
        return "other"  # statistics, or a table, that depend on the inputs
    if kind == "attention" and any(live[3:]):
        return "other"  # a mask that does
    return kind


_QUOTIENTS = frozenset({"div", "__truediv__", "divide"})
_DIFFERENCES = frozenset({"sub", "subtract", "__sub__"})


def form_of(name: str, kind: str, live: tuple[bool, ...]) -> str:
    """What a function computes, in the words of `Operation.form`; "" for what has no word."""
    if kind == "bias" and (name in {"rsub", "__rsub__"} or (name in _DIFFERENCES and not live[0])):
        return "mirror"
    return (LINEAR_FORMS if kind == "linear" else FORMS).get(name, "")
