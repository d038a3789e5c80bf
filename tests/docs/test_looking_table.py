"""Every row of the table of other libraries' pictures runs, on a model of each framework."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorlayer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import pellucid
from pellucid import plots
from pellucid.testing import build, from_layout

PAGE = Path(__file__).parents[2] / "docs" / "looking-inside.md"
FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer")
ROWS = [
    (match[1].strip(), match[2])
    for match in re.finditer(
        r"^\| ((?:TensorLayer|Keras|tf-explain|tf-keras-vis) .*?) \| `(.*)` \|$",
        PAGE.read_text("utf-8"),
        re.M,
    )
]


def names_of(library: str) -> set[str]:
    """What the table calls the functions of a library."""
    told = [there for there, _ in ROWS if there.startswith(library + " ")]
    return {name for there in told for name in re.findall(r"`(\w+)`", there)}


def given_to(framework: str, folder: Path) -> dict:
    model, x = build("cnn", framework)
    images = from_layout(x, framework)
    paths = [plots.save_image(image, folder / f"{i}.png") for i, image in enumerate(images)]
    return {
        "pellucid": pellucid,
        "plots": plots,
        "model": model,
        "x": x,
        "images": images,
        "image": images[0],
        "path": paths[0],
        "paths": paths,
        "names": ["cat", "dog", "bird", "fish", "owl"],
        "labels": [0, 1, 2, 3, 4],
        "scores": [0.9, 0.8, 0.7, 0.6, 0.5],
        "centres": np.full((5, 4), 0.4),
        "corners": np.array([[i, i, i + 4, i + 5] for i in range(5)]),
        "detections": [{"bbox": [1.5, 2.5, 4, 5], "category_id": 2, "score": 0.9}],
        "people": [{"joint_pos": {str(j): [j % 10, j % 12] for j in range(16)}}],
        "vectors": np.random.default_rng(0).normal(size=(8, 6)),
        "words": list("abcdefgh"),
        "segments": np.arange(120).reshape(12, 10) // 40,
    }


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("there", "call"), ROWS, ids=[there for there, _ in ROWS])
def test_the_call_does_it(there, call, framework, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = eval(call, given_to(framework, tmp_path))
    if isinstance(made, Path):
        assert plots.read_image(made).size
    elif isinstance(made, Figure):
        assert any(axes.has_data() for axes in made.axes)
    elif isinstance(made, Axes):
        assert made.has_data()
        assert isinstance(made.figure, Figure)
    elif isinstance(made, list):
        assert [image.shape for image in made] == [(12, 10, 3)] * 5
    elif isinstance(made, np.ndarray):
        assert made.shape == (12, 10, 3)
    else:
        assert isinstance(made, str)
        assert "conv1" in made


def test_the_table_leaves_no_function_out():
    own = {
        name
        for name, value in vars(tensorlayer.visualize).items()
        if callable(value) and getattr(value, "__module__", "") == "tensorlayer.visualize"
    }
    assert own <= names_of("TensorLayer")
    assert {n for n in vars(keras.visualization) if n[0] != "_"} <= names_of("Keras")
    assert {"plot_model", "summary"} <= names_of("Keras")
    # What these hold is read in them by tests/external/test_looking_peers.py.
    assert len(names_of("tf-explain")) == 7
    assert len(names_of("tf-keras-vis")) == 6
