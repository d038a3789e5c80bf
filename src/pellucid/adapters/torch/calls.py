"""A torch call as an interceptor gets it: its arguments by name, ready to be made again."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from pellucid.adapters.protocol import Operation
from pellucid.adapters.sliding import Sliding
from pellucid.adapters.torch.operations import form_of
from pellucid.adapters.torch.position import map_tensors
from pellucid.adapters.torch.sliding import sliding_of


class TorchOperation(Operation):
    """One torch call, ready to be made."""

    def __init__(
        self,
        call: Callable[..., Any],
        *,
        name: str,
        kind: str,
        path: str,
        number: int,
        index: int,
        inputs: tuple[Any, ...],
        live: tuple[bool, ...],
        weights: Mapping[str, Any],
        arguments: Mapping[str, Any],
        sources: tuple[int, ...] = (),
        form: str | None = None,
    ) -> None:
        self._call = call
        self.name, self.kind, self.path = name, kind, path
        self.form = form_of(name, kind, live) if form is None else form
        self.call, self.index = number, index
        self.inputs, self.live = inputs, live
        self.weights, self.arguments = weights, arguments
        self.sources = sources
        if self.form in {"softmax", "log_softmax", "logsumexp"}:
            self.arguments = {**arguments, "axis": arguments.get("dim")}
        if self.form == "affine_norm" and _is_of_its_batch(arguments):
            self.form = "batch_statistics"
        if self.form == "euclidean_norm" and not _is_euclidean(name, arguments):
            self.form = ""

    def __call__(self, *, inputs=None, weights=None, bias=True):
        given = {**self.weights, **(weights or {})}
        if not bias:
            given = {k: (None if k == "bias" else v) for k, v in given.items()}
        return self._call(self.inputs if inputs is None else inputs, given)

    def sliding(self) -> Sliding | None:
        return sliding_of(self.name, self.arguments, self.inputs)


_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]


def is_wrapped(tensor: torch.Tensor) -> bool:
    """Whether a function transform, such as `torch.func.vmap`, stands around the tensor."""
    return bool(_functorch.is_functorch_wrapped_tensor(tensor))


def depends(tensor: torch.Tensor) -> bool:
    """Whether a tensor depends on the model's inputs, seen through function transforms."""
    while not tensor.requires_grad and is_wrapped(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor.requires_grad


def is_checkpointing() -> bool:
    """Whether hooks decide what is kept for the gradient, as inside a checkpointed part.

    Such a part is run again in the backward pass, where no mode is active, and has to keep the
    same tensors then.
    """
    autograd: Any = torch._C._autograd  # pyright: ignore[reportAttributeAccessIssue]
    return autograd._top_saved_tensors_default_hooks(True) is not None


def all_plain(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether derivatives are those of plain tensors: no checkpoint, no `vmap` or `grad` around."""
    return not (is_checkpointing() or any(map(is_wrapped, tensors)))


@lru_cache(maxsize=1024)
def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (*_CONV[:5], "output_padding", "groups", "dilation")
_BUILTIN_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "linear": _CONV[:3],
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _TRANSPOSED),
}
BIASED = frozenset(_BUILTIN_ARGUMENTS)
_BUILTIN_ARGUMENTS.update(
    {
        **dict.fromkeys(("softmax", "log_softmax"), ("input", "dim", "dtype")),
        "logsumexp": ("input", "dim", "keepdim"),
        **dict.fromkeys(("clamp", "clip"), ("input", "min", "max")),
        "clamp_min": ("input", "min"),
        **dict.fromkeys(
            (
                "max maximum fmax mul __mul__ __rmul__ multiply gt ge lt le __gt__ __ge__ __lt__"
                " __le__ greater greater_equal less less_equal"
            ).split(),
            ("input", "other"),
        ),
        "where": ("condition", "input", "other"),
        "masked_fill": ("input", "mask", "value"),
        **dict.fromkeys(("linalg_vector_norm", "linalg_norm"), ("input", "ord", "dim", "keepdim")),
        "scaled_dot_product_attention": (
            *("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale"),
            "enable_gqa",
        ),
    }
)


def normalised(
    function: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name; positions stand in where torch names none."""
    names = _BUILTIN_ARGUMENTS.get(name)
    if names is not None:
        return {**dict(zip(names, args, strict=False)), **kwargs}
    signature = _signature(function)
    if signature is not None:
        try:
            return dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:
            pass
    return {**{str(i): a for i, a in enumerate(args)}, **kwargs}


def _is_of_its_batch(arguments: Mapping[str, Any]) -> bool:
    """Whether a batch normalisation takes mean and variance of the batch that it is given."""
    return bool(arguments.get("training", arguments.get("5"))) or (
        "running_mean" in arguments and arguments["running_mean"] is None
    )


def _is_euclidean(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a norm is the root of the sum of squares; `linalg.norm` knows matrices' too."""
    order = arguments.get("ord", 2 if name == "linalg_vector_norm" else None)
    if name == "linalg_vector_norm" or order is None:
        return order in {None, 2}
    return order == 2 and isinstance(arguments.get("dim"), int)


class _Place(NamedTuple):
    """Where an input goes among the arguments of a call."""

    number: int


def again_with(
    func: Any, args: Any, kwargs: Mapping[str, Any], inputs: tuple[torch.Tensor, ...]
) -> Callable[..., Any]:
    """The call as a function of its inputs and weights, which holds on to none of its inputs."""
    places = iter(range(len(inputs)))
    own = set(map(id, inputs))
    take: Any = lambda t: _Place(next(places)) if id(t) in own else t  # noqa: E731
    places_in_args, places_in_kwargs = map_tensors(args, take), map_tensors(kwargs, take)

    def call(
        new_inputs: Sequence[torch.Tensor], new_weights: Mapping[str, Any] | None = None
    ) -> Any:
        changed = _filled(places_in_kwargs, new_inputs)
        changed.update({k: v for k, v in (new_weights or {}).items() if k in changed})
        return func(*_filled(places_in_args, new_inputs), **changed)

    return call


def _filled(value: Any, inputs: Sequence[torch.Tensor]) -> Any:
    if isinstance(value, _Place):
        return inputs[value.number]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_filled(item, inputs) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_filled(item, inputs) for item in value)
    if isinstance(value, dict):
        return {key: _filled(item, inputs) for key, item in value.items()}
    return value


def out_of_place_of(
    func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The call that changes nothing, and the tensor the user expects to be changed."""
    first = args[0] if args else kwargs.get("input")
    if kwargs.get("inplace") is True:
        return func, first
    if name.endswith("_") and not name.endswith("__"):
        plain = getattr(torch.Tensor, name[:-1], None)
        return (plain, first) if plain is not None else (None, None)
    if name == "__setitem__" or kwargs.get("out") is not None:
        return None, None
    if name.startswith("__i") and name.endswith("__") and name != "__invert__":
        plain = getattr(torch.Tensor, "__" + name[3:], None)
        return (plain, first) if plain is not None else (None, None)
    return func, None
