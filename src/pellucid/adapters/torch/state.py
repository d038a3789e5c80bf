"""The state of a torch model, kept as the user left it."""

import contextlib
import hashlib
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

_GUARD = threading.RLock()
_EVALUATING: dict[int, tuple[int, dict[torch.nn.Module, bool]]] = {}


def modules_in(module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """As `named_modules`, three times as fast: every run of a model asks for them."""
    found: dict[torch.nn.Module, str] = {}

    def visit(part: torch.nn.Module, name: str) -> None:
        if part not in found:
            found[part] = name
            for key, below in part._modules.items():
                if below is not None:
                    visit(below, f"{name}.{key}" if name else key)

    visit(module, "")
    return [(name, part) for part, name in found.items()]


def has_fused_attention(module: torch.nn.Module | None) -> bool:
    """Whether a part of the model may take torch's fused inference kernel."""
    kinds = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)
    return module is not None and any(isinstance(m, kinds) for _, m in modules_in(module))


@contextlib.contextmanager
def evaluating(module: torch.nn.Module | None) -> Iterator[None]:
    """Dropout off and batch statistics frozen, each module's own flag put back afterwards.

    Counted over threads: the flags are restored when the last user of the model leaves.
    """
    if module is None:
        yield
        return
    key = id(module)
    with _GUARD:
        count, flags = _EVALUATING.get(key, (0, {}))
        if count == 0:
            flags = {m: True for _, m in modules_in(module) if m.training}
            for m in flags:
                m.training = False
        _EVALUATING[key] = (count + 1, flags)
    try:
        yield
    finally:
        with _GUARD:
            count, flags = _EVALUATING[key]
            if count == 1:
                del _EVALUATING[key]
                for m in flags:
                    m.training = True
            else:
                _EVALUATING[key] = (count - 1, flags)


@contextlib.contextmanager
def quietly(
    evaluated: contextlib.AbstractContextManager[None], *, differentiate: bool
) -> Iterator[None]:
    """Evaluation mode, our own gradient mode, and the random state put back."""
    state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state(),
        random.getstate(),
    )
    try:
        with (
            evaluated,
            torch.inference_mode(False),
            torch.set_grad_enabled(differentiate),
        ):
            yield
    finally:
        torch.set_rng_state(state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def unwrapped(model: Any) -> Any:
    """The ordinary module inside compiled and data-parallel wrappers."""
    while True:
        if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):
            model = model._orig_mod
        else:
            return model


_EAGER: list[Any] = []
"""What runs compiled parts as ordinary Python, once for each thread that wants it."""


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Compiled parts run as ordinary Python, so that their operations and layers are seen.

    Disabling the compiler for one call does not reach parts that were compiled on their own. The
    stance is the whole process's: other threads meanwhile run their compiled models eagerly, with
    the same numbers. Counted over threads: it is put back when the last one leaves.
    """
    if "torch._dynamo" not in sys.modules:
        # Nothing can be compiled yet, and importing the compiler takes a second.
        yield
        return
    with _GUARD:
        if not _EAGER:
            _EAGER.append(torch.compiler.set_stance("force_eager"))
            _EAGER[0].__enter__()
        _EAGER.append(None)
    try:
        yield
    finally:
        with _GUARD:
            _EAGER.pop()
            if len(_EAGER) == 1:
                _EAGER.pop().__exit__(None, None, None)


def version_key(module: torch.nn.Module) -> tuple[Any, ...]:
    """Changes whenever a module or a weight is replaced or written to; cheap.

    Writing through `.data` moves no version, so a few of each weight's numbers are looked at.
    """
    parts = tuple((n, id(m), m.extra_repr()) for n, m in modules_in(module))
    return parts, weights_key(module.state_dict(keep_vars=True))


def weights_key(weights: Mapping[str, Any]) -> tuple[Any, ...]:
    """Changes whenever a weight is replaced or written to; cheap."""
    return tuple(
        (name, w.data_ptr(), w._version, _sample(w.detach()))
        for name, w in weights.items()
        if isinstance(w, torch.Tensor)
    )


def _sample(weight: torch.Tensor) -> bytes:
    flat = weight.reshape(-1)
    step = max(1, flat.numel() // 64)
    if flat.dtype is torch.float32 and flat.device.type == "cpu":  # the usual case, and faster
        return flat.numpy()[::step][:64].tobytes()
    few = flat[::step][:64]
    return few.cpu().contiguous().view(torch.uint8).numpy().tobytes() if few.numel() else b""


def module_fingerprint(module: torch.nn.Module) -> str:
    """A hash of the structure as printed and of every weight."""
    digest = hashlib.blake2b(digest_size=8)
    for name, part in modules_in(module):
        digest.update(f"{name}:{type(part).__qualname__}:{part.extra_repr()}".encode())
    for name, weight in module.state_dict(keep_vars=True).items():
        if not isinstance(weight, torch.Tensor):
            digest.update(f"{name}{weight!r}".encode())
            continue
        raw = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        digest.update(raw.tobytes())
    return digest.hexdigest()


def parameter_count(module: torch.nn.Module) -> int:
    """Parameters of a module and of those inside it."""
    held = (p for _, part in modules_in(module) for p in part._parameters.values())
    return sum({id(p): p.numel() for p in held if p is not None}.values())
