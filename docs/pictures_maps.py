"""The pictures of layers, weights and arrays on the page about looking inside."""

import io
from collections.abc import Callable
from functools import cache

import numpy as np
from matplotlib.figure import Figure

import pellucid
from pellucid import plots
from pellucid.demo import demo_photos
from pellucid.demo.model import demo_model
from pellucid.inputs.image import fit_image
from pellucid.plots.style import LIGHT, new_figure


@cache
def mobilenet() -> pellucid.Model:
    """The network of the demo."""
    own = demo_model()
    return pellucid.wrap(own.model, class_names=own.class_names, preprocess=own.preprocess)


def photo(number: int) -> np.ndarray:
    """One of the demo's photographs in the size of the network."""
    return fit_image(plots.read_image(demo_photos()[number].path), 224, 224)


@cache
def digits() -> tuple[pellucid.Model, np.ndarray]:
    """A small network that has learned scikit-learn's digits, and rows it has not seen."""
    import torch
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 24, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(24 * 16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    rows, labels = torch.from_numpy(x[:1500]), torch.from_numpy(classes[:1500])
    generator = np.random.default_rng(0)
    for _ in range(8):
        for own in np.array_split(generator.permutation(1500), 30):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(rows[own]), labels[own]).backward()
            optimizer.step()
    model = pellucid.wrap(network.eval(), class_names=[str(i) for i in range(10)])
    return model, x[1500:]


def feature_maps() -> Figure:
    """Units of four depths of MobileNetV2 that count for what it predicts."""
    layers = ["Conv1_relu", "block_3_expand_relu", "block_6_expand_relu", "out_relu"]
    x = photo(0)[None]
    found = pellucid.inside.activations(mobilenet(), x, layers, top=8, by="attribution")
    return found.plot()


def activation_statistics() -> Figure:
    """The network on digits over what it has not seen."""
    model, x = digits()
    return pellucid.inside.statistics(model, x).plot()


def receptive_field() -> Figure:
    """What a unit behind the pool of the network on digits sees."""
    model, x = digits()
    axes = pellucid.inside.receptive_field(model, x[:1], "4").plot((1, 2))
    return axes.figure  # type: ignore[return-value]


def filters() -> Figure:
    """MobileNetV2's first filters."""
    return pellucid.inside.weights(mobilenet(), "Conv1").plot(columns=8)


def many_channels() -> Figure:
    """Filters of 16 channels, of the network on digits."""
    return pellucid.inside.weights(digits()[0]).plot("2", columns=8)


def dense_weights() -> Figure:
    """The last layer of the network on digits: a tile a class, a square for each of 32 units."""
    made = pellucid.inside.weights(digits()[0]).plot("8")
    return made if isinstance(made, Figure) else made.figure


def boxes_and_more() -> Figure:
    """Boxes, a mask and a skeleton over photographs."""
    figure = new_figure(10.5, 3.9, LIGHT)
    left, middle, right = figure.subplots(1, 3)
    bird = {"bbox": [2.5, 32, 219, 160], "category_id": 0, "score": 0.93}
    branch = {"bbox": [84.2, 118, 139, 106], "category_id": 1, "score": 0.41}
    plots.boxes(photo(0), [bird, branch], names=["chickadee", "branch"], ax=left)
    rows, columns = np.mgrid[:224, :224]
    segments = np.where(((rows - 118) / 75) ** 2 + ((columns - 112) / 92) ** 2 < 1, 1, 0)
    plots.masks(photo(5), segments, {1: "an ellipse"}, ax=middle)
    joints = {
        "0": [82, 212], "1": [90, 178], "2": [98, 142], "3": [124, 142], "4": [134, 178],
        "5": [141, 212], "6": [111, 140], "7": [112, 82], "8": [112, 66], "9": [112, 34],
        "10": [54, 128], "11": [66, 104], "12": [88, 80], "13": [137, 80], "14": [160, 104],
        "15": [172, 128],
    }  # fmt: skip
    person = {"joint_pos": joints, "head_rect": [96, 30, 128, 66]}
    plots.skeletons(np.full((224, 224), 0.92), [person], ax=right)
    for axes, title in ((left, "boxes"), (middle, "masks"), (right, "skeletons")):
        axes.set_title(title, fontsize=9, color=LIGHT.ink)
    return figure


def small(make: Callable[[], Figure], dpi: int = 72, quality: int = 55) -> Callable[[], bytes]:
    """The picture as a JPEG of few kilobytes, for photographs."""

    def made() -> bytes:
        stream = io.BytesIO()
        options = {"pil_kwargs": {"quality": quality}}
        make().savefig(stream, format="jpg", dpi=dpi, bbox_inches="tight", **options)
        return stream.getvalue()

    return made


PICTURES = {
    "feature-maps.jpg": small(feature_maps, dpi=84),
    "activation-statistics.png": activation_statistics,
    "receptive-field.png": receptive_field,
    "filters.png": filters,
    "filters-many-channels.png": many_channels,
    "weights-dense.png": dense_weights,
    "boxes-and-more.jpg": small(boxes_and_more),
}
