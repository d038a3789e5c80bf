"""What the torch workloads share: a counted model, trained digits networks, an exact truth."""

import copy
import warnings
from functools import cache

import numpy as np
import torch
from harness import Counter
from torch.utils._python_dispatch import TorchDispatchMode

torch.set_num_threads(2)


class RowsSeen(TorchDispatchMode):
    """Rows that the operations with a model's first and last weights really compute.

    Calling a model is not yet running all of it: where its lower part is replayed from memory,
    only the upper part has rows.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        with torch._C.DisableTorchFunction():  # whoever watches the model is not to see this
            held = [p.data_ptr() for p in model.parameters()]
        self._first, self._last = held[0], held[-1]
        self.first = self.last = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        if name in {"convolution", "addmm", "mm", "linear"}:
            with torch._C.DisableTorchFunction():
                rows = out.shape[0]
                weights = {a.data_ptr() for a in args if isinstance(a, torch.Tensor)}
            self.first += rows * (self._first in weights)
            self.last += rows * (self._last in weights)
        return out


class Counted(torch.nn.Module):
    """A model that counts the rows going through it, forward and backward."""

    def __init__(self, inside: torch.nn.Module, counter: Counter) -> None:
        super().__init__()
        self.inside, self.counter = inside, counter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.counter.on:
            return self.inside(x)
        with RowsSeen(self.inside) as seen:
            out = self.inside(x)
        self.counter.forward += seen.first
        self.counter.head += seen.last - seen.first
        if out.requires_grad:
            out.register_hook(self._back)
        return out

    def _back(self, gradient: torch.Tensor) -> None:
        self.counter.backward += len(gradient)


def relative(ours, peer) -> float:
    """The largest difference, in units of the peer's maximum."""
    ours, peer = np.asarray(ours, dtype=np.float64), np.asarray(peer, dtype=np.float64)
    return float(np.abs(ours - peer).max() / np.abs(peer).max())


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """scikit-learn's digits, enlarged to 32², in [0, 1]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    x = torch.nn.functional.interpolate(x, scale_factor=4, mode="bilinear")
    return x, torch.tensor(data.target)


def network(kind: str) -> torch.nn.Sequential:
    """A small CNN: GELU and average pooling ("smooth"), or ReLU and max pooling ("ReLU")."""
    act = torch.nn.GELU if kind == "smooth" else torch.nn.ReLU
    pool = torch.nn.AvgPool2d if kind == "smooth" else torch.nn.MaxPool2d
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), act(), pool(2),
        torch.nn.Conv2d(16, 32, 3, padding=1), act(), pool(2),
        torch.nn.Conv2d(32, 64, 3, padding=1), act(), pool(2),
        torch.nn.Flatten(), torch.nn.Linear(64 * 16, 64), act(), torch.nn.Linear(64, 10),
    )  # fmt: skip


@cache
def trained(kind: str, seed: int = 0) -> torch.nn.Sequential:
    """The network after six epochs on the first 1 500 digits, the same in every process."""
    torch.manual_seed(seed)
    net, (x, y) = network(kind), digits()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    order = np.random.default_rng(seed)
    for _ in range(6):
        for rows in np.array_split(order.permutation(1500), 24):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net.eval()


def path_truth(
    net: torch.nn.Module,
    x: torch.Tensor,
    target: torch.Tensor,
    start: torch.Tensor | float = 0.0,
    steps: int = 512,
) -> np.ndarray:
    """Integrated gradients by that many Gauss–Legendre points in float64."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    net, x = copy.deepcopy(net).double(), x.double()
    moved = x - start
    total = torch.zeros_like(x)
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (x - (1 - t) * moved).requires_grad_()
        score = net(point).gather(1, target[:, None]).sum()
        total += w * torch.autograd.grad(score, point)[0]
    return (total * moved).numpy()


def l1_errors(found, truth: np.ndarray) -> np.ndarray:
    """‖found − truth‖₁ / ‖truth‖₁ of each sample."""
    found = np.asarray(found, dtype=np.float64)
    axes = tuple(range(1, truth.ndim))
    return np.abs(found - truth).sum(axis=axes) / np.abs(truth).sum(axis=axes)


def spread(errors: np.ndarray) -> str:
    return (
        f"{np.median(errors):.2%} median, {np.quantile(errors, 0.9):.2%} p90,"
        f" {errors.max():.2%} max"
    )


@cache
def captum():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import captum.attr
    return captum.attr
