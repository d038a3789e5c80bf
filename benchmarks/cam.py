"""P7: Grad-CAM at a network's last layer. P8: Ablation-CAM of 512 channels.

In torch on ResNet18 with random weights, in Keras on the demo's MobileNetV2. pytorch-grad-cam's
pictures are scaled to 0..1, so ours are scaled alike before they are compared.
"""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from harness import SETTLED, Case, Counter, Goal

from pellucid import explain, wrap
from pellucid.demo import demo_photos, load_photo
from pellucid.demo.weights import preprocess

_ACTIVATIONS = (
    "without a graph the first convolution's output and what batch normalisation makes of it are 49"
    " MiB by themselves; the copies of the 4.6 MiB input (the model's own, and in the faster"
    " layout) come on top"
)


_BESIDE_KERAS = (
    "beside the model: 4 ms for the fingerprint of 262 weights, 1.5 for the gradient at the layer,"
    " 1.5 for the look at 157 layers, the rest for checks and copies of the pictures"
)
_BESIDE_TORCH = (
    "beside the model: 2 to 5 ms to follow the operations below the layer, replay those above it"
    " and see that no weight has changed"
)


def relative(ours, peer) -> float:
    ours, peer = np.asarray(ours, dtype=np.float64), np.asarray(peer, dtype=np.float64)
    return float(np.abs(ours - peer).max() / np.abs(peer).max())


def scaled(maps: np.ndarray) -> np.ndarray:
    low = maps.min(axis=(1, 2), keepdims=True)
    return (maps - low) / (1e-7 + (maps - low).max(axis=(1, 2), keepdims=True))


def shown(e) -> np.ndarray:
    """Our map as pytorch-grad-cam shows it."""
    import cv2

    height, width = e.values.shape[1:]
    return scaled(np.stack([cv2.resize(g, (width, height)) for g in scaled(e.extras["grid"])]))


def resnet(size: int, count: int) -> SimpleNamespace:
    """ResNet18 whose head gives every class a score above 0, and a batch of noise."""
    import torch
    from torch_parts import Counted
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(weights=None).eval()
    with torch.no_grad():
        net.fc.bias += 20
    counter = Counter()
    counted = Counted(net, counter).eval()
    x = np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)
    return SimpleNamespace(
        net=counted, layer="inside.layer4", module=net.layer4, counter=counter, plain=net,
        x=torch.from_numpy(x), model=wrap(counted), classes=list(range(count)),
    )  # fmt: skip


def by_grad_cam(s: SimpleNamespace, name: str, **options) -> np.ndarray:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in s.classes]
    with getattr(pytorch_grad_cam, name)(s.net, [s.net.inside.layer4], **options) as cam:
        return cam(input_tensor=s.x, targets=targets)


def alone(s: SimpleNamespace):
    """One forward pass in the faster memory layout: a class activation map needs no less."""
    import torch

    x = s.x.contiguous(memory_format=torch.channels_last)

    def run():
        with torch.no_grad():
            return s.plain(x)

    return run


def ours(s: SimpleNamespace, method: str):
    return explain(s.model, s.x, method, layer=s.layer, target=s.classes)


def p7() -> Iterator[Case]:
    """Against pytorch-grad-cam and Captum in torch, and tf-keras-vis in Keras."""
    import torch
    from torch_parts import captum

    s = resnet(224, 8)
    name = "Grad-CAM, ResNet18 224², 8 images"
    yield Case(
        name, "pytorch-grad-cam",
        lambda: ours(s, "gradcam"), lambda: by_grad_cam(s, "GradCAM"),
        lambda a, b: relative(shown(a), b), s.counter,
        goal=Goal(3, memory=0.2), alone=alone(s), runs=9, warm_ups=SETTLED, reason=_ACTIVATIONS,
        note=lambda *_: "compared as the peer scales its picture",
    )  # fmt: skip
    layer = captum().LayerGradCam(s.net, s.module)
    classes = torch.tensor(s.classes)
    yield Case(
        name, "captum LayerGradCam, not enlarged",
        lambda: ours(s, "gradcam"),
        lambda: layer.attribute(s.x, classes, relu_attributions=True).detach(),
        lambda a, b: relative(a.extras["grid"][:, None], b), s.counter,
        goal=Goal(1, memory=0.3), alone=alone(s), runs=9, warm_ups=SETTLED, reason=_ACTIVATIONS,
    )  # fmt: skip
    yield from in_keras()


def in_keras() -> Iterator[Case]:
    import keras
    import tensorflow as tf
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    from pellucid.demo.mobilenet_keras import build_mobilenet

    base = build_mobilenet()
    base.get_layer("predictions").activation = keras.activations.linear
    last = "out_relu"
    x = preprocess(np.stack([load_photo(p.path) for p in demo_photos()]))
    model, classes = wrap(base), np.asarray(base(x)).argmax(axis=1).tolist()
    peer = Gradcam(base, clone=False)
    forward = tf.function(lambda rows: base(rows, training=False))
    yield Case(
        "Grad-CAM, Keras MobileNetV2 224², 8 photos", "tf-keras-vis",
        lambda: explain(model, x, "gradcam", layer=last, target=classes),
        lambda: peer(
            CategoricalScore(classes), x, penultimate_layer=last, expand_cam=False,
            normalize_cam=False, seek_penultimate_conv_layer=False,
        ),
        lambda a, b: relative(a.extras["grid"], b), None, goal=Goal(5),
        alone=lambda: forward(x), runs=9, warm_ups=SETTLED, reason=_BESIDE_KERAS,
        note=lambda *_: "peer does not enlarge its map, ours does",
    )  # fmt: skip


def p8() -> Iterator[Case]:
    """Against pytorch-grad-cam, at its default and at a batch of 128."""
    s = resnet(112, 1)
    for batch in (32, 128):
        yield Case(
            "Ablation-CAM, ResNet18 112², 512 channels, 1 image",
            f"pytorch-grad-cam, batch of {batch}",
            lambda: ours(s, "ablationcam"),
            lambda batch=batch: by_grad_cam(s, "AblationCAM", batch_size=batch),
            lambda a, b: relative(shown(a), b), s.counter, goal=Goal(100), alone=alone(s),
            reason=_BESIDE_TORCH,
            note=lambda *_: "the head is affine: one gradient of it does for all 512 channels",
        )  # fmt: skip
