"""What each JAX primitive does to relevance, by name. Mostly data.

The kind of an operation also depends on which of its inputs are live: an `add` of two live
inputs is a residual, with one it is a bias; see `kind_of`.
"""

from typing import Any


def _each(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


KINDS: dict[str, str] = {
    **_each("product", "conv_general_dilated dot_general ragged_dot ragged_dot_general"),
    **_each("linear", "cumsum fft"),
    **_each("add", "add sub add_any"),
    **_each(
        "activation",
        "logistic tanh exp exp2 expm1 log log1p erf erfc erf_inv sin cos tan asin acos atan sinh"
        " cosh asinh acosh atanh sqrt rsqrt cbrt abs sign floor ceil round integer_pow square pow"
        " lgamma digamma clamp is_finite not and or xor gt ge lt le eq ne",
    ),
    **_each("norm", "layer_norm batch_norm group_norm"),
    **_each("softmax", "softmax log_softmax logsumexp"),
    **_each(
        "pool",
        "reduce_max reduce_min reduce_window_max reduce_window_min max min argmax argmin sort"
        " top_k approx_top_k cummax cummin reduce_window select_and_gather_add",
    ),
    **_each("mul", "mul div select_n rem atan2 reduce_prod cumprod"),
    **_each(
        "route",
        "reshape transpose squeeze expand_dims broadcast_in_dim concatenate pad slice"
        " dynamic_slice dynamic_update_slice gather rev convert_element_type reduce_sum"
        " reduce_window_sum reduce_precision copy copy_p stop_gradient real imag complex"
        " optimization_barrier tile split bitcast_convert_type scatter scatter-add"
        " scatter_add device_put mark neg sharding_constraint stack unstack",
    ),
    **_each("lookup", "take embedding"),
    **_each("opaque", "while scan cond"),
    **_each(
        "custom_gradient",
        "custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr custom_vjp_call_jaxpr_p"
        " custom_lin custom_vmap_call",
    ),
}

STOPPED_MAXIMUM = "stop_gradient_of_max"

FORMS: dict[str, str] = {
    STOPPED_MAXIMUM: "detached_maximum",
    "relu": "relu",
    "relu6": "relu6",
    **_each("product", "mul dot_general conv_general_dilated"),
    "div": "quotient",
    "select_n": "select",
    **_each("boolean", "not and or xor gt ge lt le eq ne is_finite"),
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "logsumexp": "logsumexp",
    **_each("maximum", "reduce_max reduce_window_max max"),
    **_each("minimum", "reduce_min reduce_window_min min"),
    **_each("sigmoid", "logistic sigmoid hard_sigmoid"),
    **_each("tanh", "tanh soft_sign"),
    **_each("erf", "erf erfc"),
    **_each("clip", "clamp hard_tanh"),
    **_each("order", "argmax argmin sort top_k approx_top_k"),
    "rsqrt": "rsqrt",
    **_each("power", "exp exp2 expm1 log log1p sqrt cbrt integer_pow square pow"),
    **_each("move", "reshape transpose squeeze expand_dims convert_element_type copy copy_p"),
}
"""What a primitive or function computes, in the words of `Operation.form`."""

LINEAR_FORMS: dict[str, str] = {
    "conv_general_dilated": "convolution",
    **_each("dense", "dot_general ragged_dot ragged_dot_general"),
    **_each("scale", "mul div"),
}
"""The same for a primitive of one live input that is linear in it."""

INLINED: frozenset[str] = frozenset(
    "jit pjit closed_call core_call xla_call remat remat2 checkpoint custom_vmap_call".split()
)
"""Calls of a function, opened where they stand."""

ACTIVATIONS: frozenset[str] = frozenset(
    "relu relu6 silu swish sigmoid gelu elu selu celu leaky_relu softplus soft_sign hard_tanh"
    " hard_sigmoid hard_silu hard_swish mish squareplus sparse_plus sparse_sigmoid logaddexp"
    " log_sigmoid".split()
)
"""Functions of `jax.nn` that arrive under their name, as one call."""

ELEMENTWISE: frozenset[str] = frozenset(
    "add sub mul div neg sign floor ceil round exp exp2 expm1 log log1p tanh logistic erf erfc"
    " erf_inv sin cos tan asin acos atan sinh cosh asinh acosh atanh sqrt rsqrt cbrt abs"
    " integer_pow square pow max min clamp select_n ge gt le lt eq ne and or not xor is_finite"
    " convert_element_type stop_gradient copy mark lgamma digamma atan2 rem".split()
)
"""Primitives that treat every number by itself."""

LINEAR_IN_ONE: frozenset[str] = frozenset(
    "add sub mul div neg convert_element_type copy mark stop_gradient".split()
)
"""Elementwise primitives that bend nothing while one input is live (and divides nothing)."""

PASS: frozenset[str] = frozenset(
    "mark copy convert_element_type reshape squeeze expand_dims broadcast_in_dim transpose"
    " stop_gradient optimization_barrier reduce_precision".split()
)
"""Steps the walk back from an output may cross without changing what the numbers mean."""


def function_name(primitive: str, params: Any) -> str | None:
    """The name of the function that a call calls; None where it has none."""
    name = params.get("name")
    if isinstance(name, str):
        return name
    body = params.get("call_jaxpr") or params.get("jaxpr") or params.get("fun_jaxpr")
    body = getattr(body, "jaxpr", body)
    info = getattr(body, "debug_info", None)
    found = getattr(info, "func_src_info", None) or ""
    return found.partition(" ")[0] or None


def is_known_function(equation: Any) -> bool:
    """Whether a call is one of `jax.nn`'s functions, which stay whole."""
    if equation.primitive.name not in {"jit", "pjit"}:
        return False
    name = function_name(equation.primitive.name, equation.params)
    if name == "log_softmax":
        return True
    if name not in ACTIVATIONS:
        return False
    body = equation.params["jaxpr"].jaxpr
    inner = [e.primitive.name for e in body.eqns]
    bends = any(n not in ELEMENTWISE and n not in {"jit", "pjit", "custom_jvp_call"} for n in inner)
    large = [v for v in equation.invars if getattr(v.aval, "ndim", 0) > 0]
    return not bends and len(large) == 1 and len(equation.outvars) == 1


def kind_of(name: str, live: tuple[bool, ...]) -> str:
    """The kind of a primitive or function of this name whose inputs are live as given."""
    kind = "activation" if name in ACTIVATIONS else KINDS.get(name, "other")
    several = sum(live) > 1
    if kind == "product":
        return "mul" if several else "linear"
    if kind == "add":
        return "add" if several else "bias"
    if name in {"stop_gradient", STOPPED_MAXIMUM}:
        return "detached"
    if name in {"max", "min", "pow"}:
        return kind if several else "activation"
    if name in {"gather", "dynamic_slice"} and live and not live[0]:
        return "lookup"
    if name == "select_n" and live and live[0] and not any(live[1:]):
        return "activation"  # a step
    if name == "div" and live and not live[0]:
        return "mul" if several else "activation"  # a constant over x bends
    if name in {"reduce_prod", "cumprod"}:
        return "other"  # a product of many
    if name in {"rem", "atan2"}:
        return "mul" if several else "activation"
    if kind == "mul":
        return "mul" if several else "linear"
    return kind


def form_of(name: str, kind: str, live: tuple[bool, ...]) -> str:
    """What a primitive or function of this name computes where it is of this kind."""
    if kind == "bias" and name == "sub" and not live[0]:
        return "mirror"
    return (LINEAR_FORMS if kind == "linear" else FORMS).get(name, "")
