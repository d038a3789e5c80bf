"""The table of other libraries' pictures, against what those libraries hold today.

Run by `make test-peers`, with tf-explain 0.3.1, tf-keras-vis 0.8.7 and Keras 3.15; TensorLayer's
and the environment's own Keras are looked at by `tests/docs/test_looking_table.py`.
"""

import importlib
import inspect
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the peers' own imports; nothing of ours
    why = "not installed here; `make test-peers` has it"
    keras = pytest.importorskip("keras", reason=f"Keras is {why}")
    tf_explain = pytest.importorskip("tf_explain.core", reason=f"tf-explain is {why}")
    tf_keras_vis = pytest.importorskip("tf_keras_vis", reason=f"tf-keras-vis is {why}")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PAGE = Path(__file__).parents[2] / "docs" / "looking-inside.md"


def told(library: str) -> set[str]:
    """What the table calls the pictures of a library."""
    rows = re.findall(rf"^\| {library} (.*?) \| `.*` \|$", PAGE.read_text("utf-8"), re.M)
    return {name for there in rows for name in re.findall(r"`(\w+)`", there)}


def classes_of(package) -> set[type]:
    """Every class that a package or a module inside it defines."""
    found = set()
    inside = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    for module in (package, *(importlib.import_module(found.name) for found in inside)):
        own = {c for _, c in inspect.getmembers(module, inspect.isclass)}
        found |= {c for c in own if c.__module__.startswith(package.__name__)}
    return found


def test_every_explainer_of_tf_explain():
    explainers = {c.__name__ for c in classes_of(tf_explain) if callable(getattr(c, "explain", 0))}
    assert explainers
    assert explainers == told("tf-explain")


def test_every_visualization_of_tf_keras_vis():
    base = tf_keras_vis.ModelVisualization
    pictures = {
        c.__name__
        for c in classes_of(tf_keras_vis)
        if issubclass(c, base) and not inspect.isabstract(c)
    }
    assert pictures
    assert pictures == told("tf-keras-vis")


def test_every_drawing_of_keras():
    drawings = {
        name
        for module in (keras.visualization, keras.utils)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and re.match("plot_|draw_", name)
    }
    assert {"plot_model", "plot_image_gallery"} <= drawings
    # model_to_dot makes what plot_model draws.
    assert drawings <= told("Keras")
    assert not [
        name for name in vars(keras.visualization) if name[0] != "_" and name not in drawings
    ]
