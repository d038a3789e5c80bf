"""Values with other derivatives than their own."""

from collections.abc import Callable
from typing import Any

import torch


def sloped(value: torch.Tensor, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """`value`, whose derivative is `slope` times that of `x`, in no pass over the numbers at all.

    Memory is where the time of a rule goes: what is returned is `value`'s own.
    """
    return _Sloped.apply(x, (value.detach(),), slope.detach())  # pyright: ignore[reportReturnType]


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, value, slope):  # type: ignore[override]
        ctx.save_for_backward(slope)
        return value[0]  # not an argument by itself, of which torch would make a view

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:  # type: ignore[override]
        return cotangent * ctx.saved_tensors[0], None, None


def custom_vjp(
    fn: Callable[..., torch.Tensor], backward: Callable[..., Any]
) -> Callable[..., torch.Tensor]:
    """`fn(*arrays)` whose derivative is `backward(cotangent, *arrays)`."""

    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arrays: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            ctx.save_for_backward(*arrays)
            return fn(*arrays)

        @staticmethod
        def backward(ctx: Any, cotangent: torch.Tensor) -> Any:  # type: ignore[override]
            found = backward(cotangent, *ctx.saved_tensors)
            return found if isinstance(found, tuple) else (found,)

    return lambda *arrays: Custom.apply(*(a.clone() for a in arrays))


def derived(
    arrays: tuple[torch.Tensor, ...], value: torch.Tensor, pullback: Callable[[torch.Tensor], Any]
) -> torch.Tensor:
    """`value`, whose derivative in `arrays` is `pullback(cotangent)`; nothing is kept of them."""
    given = pullback, (value.detach(),)
    return _Derived.apply(*given, *arrays)  # pyright: ignore[reportReturnType]


class _Derived(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pullback, value, *arrays):  # type: ignore[override]
        ctx.pullback = pullback
        return value[0]  # see `_Sloped`

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:  # type: ignore[override]
        found = ctx.pullback(cotangent)
        return None, None, *(found if isinstance(found, tuple) else (found,))


def are_one(a: object, b: object) -> bool:
    """Whether two are one tensor, or one the copy that a run makes of its input, the other."""
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return a is b
    return a.shape == b.shape and _copied(a).data_ptr() == _copied(b).data_ptr()


def _copied(a: torch.Tensor) -> torch.Tensor:
    """What a copy was made from, where that was no operation's output; else `a` itself."""
    if type(a.grad_fn).__name__ != "CloneBackward0":
        return a
    made = a.grad_fn.next_functions[0][0]  # type: ignore[union-attr]
    return getattr(made, "variable", a)
