"""The pictures of methods side by side, on a photograph and MobileNetV2."""

import io
from functools import cache

import numpy as np
from matplotlib.figure import Figure

import pellucid
from pellucid.demo import demo_model, demo_photos, load_photo
from pellucid.demo.run import METHODS
from pellucid.plots import grid

CAMS = (
    "gradcam", "gradcam_plus_plus", "hirescam", "xgradcam", "layercam", "eigencam", "scorecam",
    "ablationcam",
)  # fmt: skip
MIDDLE = "block_13_expand_relu"


@cache
def network() -> tuple[pellucid.Model, np.ndarray, np.ndarray]:
    """The network of the demo, its first photograph, and the two classes it finds likeliest."""
    own = demo_model()
    model = pellucid.wrap(own.model, class_names=own.class_names, preprocess=own.preprocess)
    x = load_photo(demo_photos()[0].path)[None]
    return model, x, np.argsort(-model.predict(x), axis=1)[:, :2].astype(np.int64)


def five_methods() -> bytes:
    """Why the first guess, and why it rather than the second, by the methods of the demo."""
    model, x, order = network()
    rows = {}
    for name, parameters in METHODS.items():
        why = pellucid.explain(model, x, name, target=order[:, 0], **parameters)
        rather = pellucid.explain(model, x, name, target=order, **parameters)
        rows[name] = {"Why chickadee?": why, "Rather than water ouzel?": rather}
    return small(grid(rows), dpi=110)


def activation_maps() -> bytes:
    """Every class activation map at the last layer, and at one in the middle."""
    model, x, order = network()
    rows = {}
    for name in CAMS:
        asked = {
            "Why chickadee?": (order[:, 0], {}),
            "Why rather than water ouzel?": (order, {}),
            f"Why chickadee? at {MIDDLE}": (order[:, 0], {"layer": MIDDLE}),
        }
        rows[name] = {
            question: pellucid.explain(model, x, name, target=target, **options)
            for question, (target, options) in asked.items()
        }
    return small(grid(rows, scale="panel", across="questions"), dpi=55)


def small(figure: Figure, dpi: int) -> bytes:
    """The figure as a JPEG of few kilobytes."""
    stream = io.BytesIO()
    options = {"pil_kwargs": {"quality": 80}}
    figure.savefig(stream, format="jpg", dpi=dpi, bbox_inches="tight", **options)
    return stream.getvalue()


PICTURES = {
    "chickadee-five-methods.jpg": five_methods,
    "class-activation-maps.jpg": activation_maps,
}
