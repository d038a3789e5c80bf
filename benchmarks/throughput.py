"""P11 and P14: occlusion, and many inputs at once, on torch against captum."""

from collections.abc import Iterator

import numpy as np
import torch
from harness import Case, Counter, Goal
from torch_parts import Counted, captum, digits, relative, trained

from pellucid import explain, wrap

_WHOLE = (
    "each window is a whole forward on both sides: incremental inference, which recomputes only"
    " what a window changes, is not written"
)


def _nets() -> dict[str, tuple[torch.nn.Module, int]]:
    """A tiny CNN, ResNet18 and VGG11 with random weights, and their inputs' sides."""
    import torchvision

    torch.manual_seed(0)
    tiny = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    models = torchvision.models
    return {
        "tiny CNN 160²": (tiny.eval(), 160),
        "ResNet18 160²": (models.resnet18().eval(), 160),
        "VGG11 160²": (models.vgg11().eval(), 160),
    }


def size_of(net: torch.nn.Module) -> int:
    """The number of its weights."""
    return sum(p.numel() for p in net.parameters())


def p11() -> Iterator[Case]:
    """Occlusion by 100 windows that do not overlap, one image, the same evaluations."""
    goals = {"tiny CNN 160²": Goal(1.0), "ResNet18 160²": Goal(1.3), "VGG11 160²": Goal(4.5)}
    for label, (net, size) in _nets().items():
        counter = Counter()
        counted = Counted(net, counter).eval()
        x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        model, side = wrap(counted), size // 10
        with torch.no_grad():
            target = int(net(x).argmax())
        peer = captum().Occlusion(counted)

        def ours(model=model, x=x, side=side, target=target):
            found = explain(model, x, "occlusion", target=target, window=side, stride=side)
            return found.values

        def theirs(batch, peer=peer, x=x, side=side, target=target):
            window = (x.shape[1], side, side)
            return peer.attribute(
                x, window, strides=window, baselines=0, target=target, perturbations_per_eval=batch
            ).numpy()  # fmt: skip

        for batch in (1, 16, 32) if size_of(net) < 1e6 else (32,):
            yield Case(
                f"occlusion, 100 windows, {label}", f"captum, {batch} windows a run", ours,
                lambda batch=batch, theirs=theirs: theirs(batch), relative, counter,
                goal=goals[label] if batch > 1 else Goal(), reason=_WHOLE, runs=2, memory=False,
            )  # fmt: skip


def p14() -> Iterator[Case]:
    """Many inputs in one call, against a loop over batches of 64."""
    torch.manual_seed(0)
    table = torch.nn.Sequential(
        torch.nn.Linear(30, 64), torch.nn.GELU(), torch.nn.Linear(64, 64), torch.nn.GELU(),
        torch.nn.Linear(64, 3),
    ).eval()  # fmt: skip
    rows = torch.randn(2048, 30, generator=torch.Generator().manual_seed(1))
    yield _many("IG, 9 steps, 2 048 rows of a table", table, rows, _ig)
    net, images = trained("ReLU"), digits()[0][:256]
    yield _many("SmoothGrad, 16 draws, 256 digits", net, images, _smooth)


def _many(label: str, net: torch.nn.Module, x: torch.Tensor, pair) -> Case:
    counter = Counter()
    counted = Counted(net, counter).eval()
    with torch.no_grad():
        targets = net(x).argmax(1)
    ours, one_batch, difference = pair(counted, targets)

    def peer() -> np.ndarray:
        parts = range(0, len(x), 64)
        return np.concatenate([one_batch(x[i : i + 64], targets[i : i + 64]) for i in parts])

    return Case(
        label, "captum, batches of 64", lambda: ours(x), peer, difference, counter, goal=Goal(1.5)
    )


def _ig(counted: Counted, targets: torch.Tensor):
    model, peer = wrap(counted), captum().IntegratedGradients(counted)

    def ours(x: torch.Tensor) -> np.ndarray:
        return explain(model, x, "integrated_gradients", target=targets.tolist(), steps=9).values

    def one_batch(x: torch.Tensor, target: torch.Tensor) -> np.ndarray:
        found = peer.attribute(x, target=target, n_steps=9, method="gausslegendre")
        return found.detach().numpy()

    return ours, one_batch, relative


def _smooth(counted: Counted, targets: torch.Tensor):
    model, tool = wrap(counted), captum()
    peer = tool.NoiseTunnel(tool.Saliency(counted))

    def ours(x: torch.Tensor) -> np.ndarray:
        return explain(model, x, "smoothgrad", target=targets.tolist(), samples=16).values

    def one_batch(x: torch.Tensor, target: torch.Tensor) -> np.ndarray:
        found = peer.attribute(
            x, nt_type="smoothgrad", nt_samples=16, stdevs=0.15, target=target, abs=False
        )  # fmt: skip
        return found.detach().numpy()

    return ours, one_batch, lambda a, b: float("nan")
