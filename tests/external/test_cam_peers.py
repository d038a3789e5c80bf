"""pytorch-grad-cam as an outside oracle of every CAM, and what differs where definitions do.

The peer returns maps scaled to 0..1 twice, before and after enlarging with OpenCV; ours are scaled
the same way here. Needs pytorch-grad-cam (and torchvision, which it needs), so it runs in an
environment of its own.
"""

import numpy as np
import pytest
import torch

from pellucid import explain
from pellucid.methods.cam.eigencam import first_projection

REASON = "pytorch-grad-cam needs torchvision, which the test environment does not have"
peers = pytest.importorskip("pytorch_grad_cam", reason=REASON)
cv2 = pytest.importorskip("cv2", reason=REASON)
resnet18 = pytest.importorskip("torchvision.models", reason=REASON).resnet18

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # the peer's own imports and calls
]
OF_MAXIMUM = 1e-4
CLASSES = {
    "gradcam": "GradCAM",
    "gradcam_plus_plus": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
}
SAME = ("gradcam", "hirescam", "xgradcam", "layercam", "ablationcam")


def small(stride: int = 2, gain: float = 1.0) -> tuple[torch.nn.Module, str]:
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 12, 3, stride=stride, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(12, 4),
    )
    with torch.no_grad():
        net[6].weight *= gain
        net[6].bias.fill_(gain)
    return net.eval(), "3"


def residual() -> tuple[torch.nn.Module, str]:
    torch.manual_seed(1)
    net = resnet18(weights=None).eval()
    with torch.no_grad():
        for parameter in net.fc.parameters():
            parameter *= 20
        net.fc.bias += 20
    return net, "layer4"


@pytest.fixture
def x() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(2, 3, 64, 48)).astype("float32"))


def scaled(maps: np.ndarray) -> np.ndarray:
    low = maps.min(axis=(1, 2), keepdims=True)
    return (maps - low) / (1e-7 + (maps - low).max(axis=(1, 2), keepdims=True))


def as_the_peer_shows(grid: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    height, width = size
    enlarged = [cv2.resize(g, (width, height)) for g in scaled(np.maximum(grid, 0))]
    return scaled(np.stack(enlarged))


def peer_map(method: str, net: torch.nn.Module, layer: str, x: torch.Tensor, target: int):
    """The peer's picture, and the weights `(n, channels)` it found."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    found = {}
    made = getattr(peers, CLASSES[method])(net, [net.get_submodule(layer)])
    weigh = made.get_cam_weights

    def keep(*args, **options):
        found["activations"], found["gradients"] = args[3], args[4]
        found["weights"] = weigh(*args, **options)
        return found["weights"]

    made.get_cam_weights = keep
    with made as cam:
        shown = cam(input_tensor=x.clone(), targets=[ClassifierOutputTarget(target)] * len(x))
    return shown, found


def ours(method: str, net: torch.nn.Module, layer: str, x: torch.Tensor, target: int):
    return explain(net, x, method, layer=layer, target=target, batch_size=64)


def away(e, shown: np.ndarray) -> float:
    return float(np.abs(as_the_peer_shows(e.extras["grid"], shown.shape[1:]) - shown).max())


@pytest.mark.parametrize("make", [small, residual])
@pytest.mark.parametrize("method", SAME)
def test_the_same_map(method, make, x):
    net, layer = make()
    target = int(net(x).mean(0).argmax())
    assert (net(x)[:, target] > 0).all(), "the peer divides by the score in ablationcam"
    e = ours(method, net, layer, x, target)
    shown, _ = peer_map(method, net, layer, x, target)
    assert e.values.any()
    assert away(e, shown) < OF_MAXIMUM


def test_gradcam_plus_plus_without_the_peer_s_small_number(x):
    """The peer adds 1e-6 to 2g² + g³ΣA; gradients of a mean over positions are as small."""
    net, layer = small(gain=1000.0)
    large = away(ours("gradcam_plus_plus", net, layer, x, 1),
                 peer_map("gradcam_plus_plus", net, layer, x, 1)[0])  # fmt: skip
    assert large < OF_MAXIMUM, "where gradients are large the number does not matter"
    net, layer = residual()
    e = ours("gradcam_plus_plus", net, layer, x, 1)
    shown, found = peer_map("gradcam_plus_plus", net, layer, x, 1)
    a, g = (np.asarray(found[k], dtype=np.float64) for k in ("activations", "gradients"))
    total = a.sum(axis=(2, 3), keepdims=True)

    def grid(epsilon: float) -> np.ndarray:
        below = 2 * g**2 + total * g**3 + epsilon
        alpha = np.where(g != 0, g**2 / np.where(g != 0, below, 1), 0)
        weights = (np.maximum(g, 0) * alpha).sum(axis=(2, 3), keepdims=True)
        return (weights * a).sum(axis=1)

    picture = as_the_peer_shows(grid(1e-6).astype(np.float32), shown.shape[1:])
    assert np.abs(picture - shown).max() < OF_MAXIMUM, "the peer is the formula with the number"
    assert np.abs(e.extras["grid"] - grid(0)).max() < OF_MAXIMUM * grid(0).max()


@pytest.mark.parametrize("make", [small, residual])
def test_eigencam_is_not_centred(make, x):
    """The peer subtracts each channel's mean, and leaves the sign to the decomposition."""
    net, layer = make()
    e = ours("eigencam", net, layer, x, 0)
    shown, found = peer_map_of_eigencam(net, layer, x)
    plain, centred = [], []
    for a in found.astype(np.float64):
        rows = a.reshape(len(a), -1).T
        plain.append(first_projection(rows).reshape(a.shape[1:]))
        centred.append(first_projection(rows - rows.mean(axis=0)).reshape(a.shape[1:]))
    np.testing.assert_allclose(e.extras["grid"], np.maximum(plain, 0), rtol=1e-4, atol=1e-5)
    for n, grid in enumerate(np.float32(centred)):
        either = [
            np.abs(as_the_peer_shows(s * grid[None], shown.shape[1:])[0] - shown[n]).max()
            for s in (1, -1)
        ]
        assert min(either) < OF_MAXIMUM


def peer_map_of_eigencam(net, layer, x):
    kept = []
    handle = net.get_submodule(layer).register_forward_hook(lambda m, i, out: kept.append(out))
    with torch.no_grad():
        net(x)
    handle.remove()
    with peers.EigenCAM(net, [net.get_submodule(layer)]) as cam:
        return cam(input_tensor=x, targets=None), kept[0].numpy()


def test_scorecam_where_nothing_is_enlarged(x):
    net, layer = small(stride=1)
    shown, found = peer_map("scorecam", net, layer, x, 1)
    e = ours("scorecam", net, layer, x, 1)
    assert away(e, shown) < OF_MAXIMUM
    live = e.extras["weights"] > 0
    share = found["weights"] / np.where(live, found["weights"], 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(e.extras["weights"][live], share[live], rtol=1e-4)


def test_scorecam_enlarges_by_areas_where_the_peer_aligns_corners(x):
    """`UpsamplingBilinear2d` aligns corners: each mask is another one, and so is the map."""
    net, layer = small(gain=10.0)
    e = ours("scorecam", net, layer, x, 1)
    shown, found = peer_map("scorecam", net, layer, x, 1)
    activations = torch.from_numpy(np.asarray(found["activations"]))

    def weights(align_corners: bool) -> np.ndarray:
        masks = torch.nn.functional.interpolate(
            activations, x.shape[2:], mode="bilinear", align_corners=align_corners
        )
        low = masks.amin((2, 3), keepdim=True)
        masks = (masks - low) / (masks.amax((2, 3), keepdim=True) - low + 1e-8)
        with torch.no_grad():
            scores = [
                net(sample * mask[:, None])[:, 1] for sample, mask in zip(x, masks, strict=True)
            ]
        return torch.stack(scores).softmax(dim=1).numpy()

    np.testing.assert_allclose(found["weights"], weights(True), rtol=1e-3)
    live = e.extras["weights"] > 0
    share = weights(False) / np.where(live, weights(False), 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(e.extras["weights"][live], share[live], rtol=1e-3)
    assert 1e-4 < away(e, shown) < 0.5


def test_ablationcam_takes_away_by_zero_where_the_peer_subtracts_ten_million(x):
    """Where a layer has values below 0 the peer puts −1e7 in a channel's place; the paper, 0."""
    net, _ = small()
    net[3] = torch.nn.Identity()  # a ReLU would turn −1e7 into 0 again
    e = ours("ablationcam", net, "2", x, 1)
    _, found = peer_map("ablationcam", net, "2", x, 1)
    with torch.no_grad():
        below = net[:3](x)
        f = net[3:](below)[:, 1]
        for k in range(below.shape[1]):
            without = below.clone()
            without[:, k] = 0
            drop = f - net[3:](without)[:, 1]
            np.testing.assert_allclose(e.extras["weights"][:, k], drop, rtol=1e-3, atol=1e-6)
    theirs = found["weights"] * f.numpy()[:, None]
    assert np.abs(theirs).max() > 1e3 * np.abs(e.extras["weights"]).max()


def test_ablationcam_of_a_negative_score(x):
    """The peer divides by the score, which turns its map over where that is below 0."""
    net, layer = small()
    with torch.no_grad():
        net[6].bias -= 100
    e = ours("ablationcam", net, layer, x, 1)
    _, found = peer_map("ablationcam", net, layer, x, 1)
    with torch.no_grad():
        f = net(x)[:, 1].numpy()
    assert (f < 0).all()
    scale = np.abs(e.extras["weights"]).max()
    # Both are differences of scores near −100 in float32.
    assert np.abs(found["weights"] * f[:, None] - e.extras["weights"]).max() < 0.02 * scale


TRANSFORMERS: dict[str, tuple[str, tuple[int, int]]] = {
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", (14, 14)),
    "swin_t": ("permute", (7, 7)),
}


@pytest.fixture(params=list(TRANSFORMERS))
def transformer(request) -> tuple[str, torch.nn.Module]:
    from torchvision import models

    torch.manual_seed(0)
    net = getattr(models, request.param)(weights=None).eval()
    head = net.heads.head if request.param == "vit_b_16" else net.head
    torch.nn.init.normal_(head.weight)  # torchvision starts a ViT's head at 0
    return request.param, net


def test_transformers_need_no_reshape_function(transformer):
    """The peer is given the usual reshape function and the layer; ours finds both."""
    name, net = transformer
    layer, grid = TRANSFORMERS[name]
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype("float32"))
    e = explain(net, x, "gradcam", target=7)
    assert e.parameters["layer"] == layer
    assert e.extras["grid"].shape[1:] == grid
    assert e.values.any()

    def reshape(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].reshape(len(tokens), *grid, -1).permute(0, 3, 1, 2)

    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    transform = reshape if name == "vit_b_16" else None
    with peers.GradCAM(net, [net.get_submodule(layer)], reshape_transform=transform) as cam:
        shown = cam(input_tensor=x, targets=[ClassifierOutputTarget(7)])
    assert away(e, shown) < OF_MAXIMUM


@pytest.mark.parametrize(
    "name", ["googlenet", "densenet121", "mobilenet_v3_small", "convnext_tiny", "resnet18"]
)
def test_a_layer_is_found_in_ordinary_networks(name):
    from torchvision import models

    torch.manual_seed(0)
    net = getattr(models, name)(weights=None).eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 96, 128)).astype("float32"))
    for method in ("gradcam", "layercam", "eigencam"):
        e = explain(net, x, method, target=7, relu=False)
        assert e.values.shape == (1, 96, 128)
        assert e.extras["grid"].shape[1:] == (3, 4)
        assert e.values.any()
