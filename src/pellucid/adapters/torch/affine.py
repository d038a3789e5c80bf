"""Whether what a torch model computes above a layer is an affine function of the layer's value.

Every operation is seen below autograd, so that what a custom function or a fused layer does inside
is seen too. A tensor is known by its storage, which its views share.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pellucid.adapters.torch.position import tensors_in

SUMS: frozenset[str] = frozenset(
    (
        "view _unsafe_view reshape clone permute transpose t squeeze unsqueeze expand alias select"
        " slice cat stack split split_with_sizes unbind flip roll repeat constant_pad_nd _to_copy"
        " add sub rsub neg mean sum avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d"
        " _adaptive_avg_pool3d"
    ).split()
)
"""Affine in all of their arguments together."""

PRODUCTS: dict[str, tuple[int, ...]] = {
    "mul": (0, 1),
    "div": (0,),
    "mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "addmm": (0, 1, 2),
    "baddbmm": (0, 1, 2),
    "linear": (0,),
    "convolution": (0,),
    "native_batch_norm": (0,),
    "_native_batch_norm_legit_no_training": (0,),
}
"""Affine in one of the arguments at these places, where no other depends on the layer."""

ESCAPES: frozenset[str] = frozenset(
    "numpy tolist data __array__ __dlpack__ data_ptr storage untyped_storage set_".split()
)
"""Ways in which numbers leave torch, or change, unseen."""

_BENT_AT_MOST = 2
"""Results that are not affine and still looked after: a final softmax, which may be taken off."""


class AffineWatch(TorchDispatchMode):
    """Follows a layer's value through the operations above it."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        # Held, so that no other tensor gets their memory.
        self._affine: dict[int, Any] = {}
        self._bent: dict[int, Any] = {}
        self._sure = True
        with torch._C.DisableTorchFunction():
            self._keep(self._affine, value)

    def give_up(self) -> None:
        """Something happened that cannot be followed."""
        self._sure = False
        self._affine, self._bent = {}, {}

    def proves(self, outputs: Any) -> bool:
        """Whether every output is known to be affine in the layer's value."""
        found = list(tensors_in(outputs))
        return self._sure and bool(found) and all(_key(t) in self._affine for t in found)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self._sure:
            # Modes that read the model's calls are not to see the questions asked here.
            with torch._C.DisableTorchFunction():
                self._note(func, args, kwargs, out)
        return out

    def _note(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        given = [_key(t) for t in tensors_in([args, kwargs])]
        bent = any(k in self._bent for k in given)
        live = sum(k in self._affine for k in given)
        if not bent and not live:
            return
        results = list(tensors_in(out))
        if func._schema.is_mutable or not results:
            self.give_up()
            return
        straight = not bent and _is_affine(func, args, kwargs, live, self._affine, results)
        for tensor in results:
            self._keep(self._affine if straight else self._bent, tensor)
        if len(self._bent) > _BENT_AT_MOST:
            self.give_up()

    @staticmethod
    def _keep(among: dict[int, Any], tensor: torch.Tensor) -> None:
        among[_key(tensor)] = tensor.untyped_storage()


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _is_affine(
    func: Any, args: Any, kwargs: Any, live: int, known: dict[int, Any], results: list[torch.Tensor]
) -> bool:
    name = func._overloadpacket.__name__
    if "mode" in func._overloadname or not all(t.is_floating_point() for t in results):
        return False
    if name in SUMS:
        return True
    places = PRODUCTS.get(name)
    if places is None or live != 1:
        return False
    if name == "native_batch_norm" and args[5] is not False:
        return False
    at = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor) and _key(a) in known]
    return len(at) == 1 and at[0] in places
