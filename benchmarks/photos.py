"""The demo's MobileNetV2 on eight photographs: the everyday calls, same evaluations."""

from collections.abc import Iterator

import numpy as np
import torch
from harness import Case, Counter
from torch_parts import Counted, captum, relative

from pellucid import explain, wrap
from pellucid.demo import demo_photos, load_photo
from pellucid.demo.weights import preprocess
from pellucid.testing.mobilenet_torch import build_mobilenet


def photos() -> Iterator[Case]:
    """Saliency, Grad-CAM, integrated gradients and occlusion against captum."""
    x = np.stack([load_photo(p.path) for p in demo_photos()])
    x = torch.from_numpy(np.moveaxis(preprocess(x), -1, 1).copy())
    counter = Counter()
    inside = build_mobilenet().eval()
    inside.classifier[1] = torch.nn.Identity()
    logits = Counted(inside, counter).eval()
    target = logits(x).argmax(1)
    model, peers = wrap(logits), captum()

    def ours(name, **options):
        return lambda: explain(model, x, name, target=target.tolist(), **options)

    def values(e, found) -> float:
        return relative(e.values, found.detach())

    def grid(e, found) -> float:
        return relative(e.extras["grid"][:, None], found.detach())

    label = "MobileNetV2 224², 8 photos"
    yield Case(
        f"saliency, {label}", "captum", ours("saliency"),
        lambda: peers.Saliency(logits).attribute(x.clone().requires_grad_(), target, abs=False),
        values, counter,
    )  # fmt: skip
    yield Case(
        f"Grad-CAM, {label}", "captum", ours("gradcam", layer="inside.features"),
        lambda: peers.LayerGradCam(logits, inside.features).attribute(
            x, target, relu_attributions=True),
        grid, counter,
    )  # fmt: skip
    yield Case(
        f"integrated gradients, 8 steps, {label}", "captum, internal batch 8",
        ours("integrated_gradients", steps=8),
        lambda: peers.IntegratedGradients(logits).attribute(
            x, target=target, n_steps=8, method="gausslegendre", internal_batch_size=8),
        values, counter, runs=3,
    )  # fmt: skip
    yield Case(
        f"occlusion, 49 windows, {label}", "captum, 4 windows at once",
        ours("occlusion", window=32, stride=32),
        lambda: peers.Occlusion(logits).attribute(
            x, (3, 32, 32), (3, 32, 32), target=target, perturbations_per_eval=4),
        values, counter, runs=3,
    )  # fmt: skip
