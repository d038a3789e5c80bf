"""P11 and P14: occlusion, and many inputs at once, on torch against captum."""

from collections.abc import Iterator

import numpy as np
import torch
from harness import Case, Counter, Goal
from torch_parts import Counted, captum, digits, relative, trained

from pellucid import explain, wrap


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
    """Occlusion by 100 windows that do not overlap, one image: whole runs, and in part."""
    best = {"tiny CNN 160²": 16, "ResNet18 160²": 32, "VGG11 160²": 32}
    in_part = {"tiny CNN 160²": None, "ResNet18 160²": 1.3, "VGG11 160²": 4.5}
    for label, (net, size) in _nets().items():
        counter = Counter()
        counted = Counted(net, counter).eval()
        x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        model, side = wrap(counted), size // 10
        with torch.no_grad():
            target = int(net(x).argmax())
        peer = captum().Occlusion(counted)

        def ours(how, model=model, x=x, side=side, target=target):
            return explain(
                model, x, "occlusion", target=target, window=side, stride=side, incremental=how
            )  # fmt: skip

        def theirs(batch=best[label], peer=peer, x=x, side=side, target=target):
            window = (x.shape[1], side, side)
            return peer.attribute(
                x, window, strides=window, baselines=0, target=target, perturbations_per_eval=batch
            ).numpy()  # fmt: skip

        def said(_a, _b, ours=ours):
            found = ours(None)
            told = [n for n in found.provenance["notes"] if "incremental" in n]
            share = told[0].split("ran ")[1].split(" of")[0] if told else "no part"
            return (
                f"each window runs {share} of a forward pass's multiplications; compared with"
                f" whole runs in the first call, before the clock runs; its"
                f" {found.evaluations.suffix} windows run in part, which the wrapper around the"
                " model does not see"
            )

        name = f"captum, {best[label]} windows a run"
        yield Case(
            f"occlusion, 100 windows, {label}, whole runs", name,
            lambda ours=ours: ours(False).values, theirs, relative, counter, goal=Goal(1.0),
            runs=3 if size_of(net) < 1e6 else 1, memory=False,
        )  # fmt: skip
        yield Case(
            f"occlusion, 100 windows, {label}, incremental", name,
            lambda ours=ours: ours(None).values, theirs, relative, counter, note=said,
            goal=Goal(in_part[label]), runs=3, memory=False,
            reason="difference: float noise of the logits, in units of the largest loss",
        )  # fmt: skip

    yield _against_tf_explain()


def _against_tf_explain() -> Case:
    """The same on Keras, where the peer runs all windows of an image through `predict`."""
    import keras
    from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

    keras.utils.set_random_seed(0)
    net = keras.Sequential([
        keras.Input((160, 160, 3)), keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10),
    ])  # fmt: skip
    x = np.random.default_rng(0).random((1, 160, 160, 3)).astype(np.float32)
    model, peer = wrap(net), OcclusionSensitivity(batch_size=32)

    def ours() -> np.ndarray:
        found = explain(
            model, x, "occlusion", target=0, window=16, stride=16, baseline=127.5, incremental=False
        )  # fmt: skip
        return found.values

    return Case(
        "occlusion, 100 windows, Keras tiny CNN 160², whole runs", "tf-explain, batches of 32",
        ours, lambda: peer.get_sensitivity_map(net, x[0], 0, 16), lambda a, b: float("nan"),
        goal=Goal(2.0), runs=3, memory=False,
        note=lambda a, b: "peer returns 1 − f of the copies: values not compared",
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
