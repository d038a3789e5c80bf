"""A board says the same of the same weights in every framework; of pictures, tables and series."""

import functools

import numpy as np
import pytest
import torch
from sklearn import metrics

import pellucid
from pellucid import testing
from pellucid.testing.tiny_numpy import softmax
from pellucid.testing.tiny_weights import INPUT_SHAPES

FRAMEWORKS = [f for f in testing.FRAMEWORKS if f != "numpy"]
ROWS = 60


@functools.cache
def data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in NHWC, what the float64 oracle says of them, and labels that are mostly right."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, *INPUT_SHAPES[name][0])).astype(np.float32)
    out = testing.reference_forward(name, x)
    p = np.concatenate([1 - out, out], axis=1) if name == "sigmoid" else softmax(out)
    said = p.argmax(axis=1)
    wrong = rng.random(ROWS) < 0.25
    return x, p, np.where(wrong, (said + 1) % p.shape[1], said)


def expected(p: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The scores by scikit-learn, from the oracle's probabilities."""
    several = p.shape[1] > 2
    own = p if several else p[:, 1]
    areas = metrics.roc_auc_score(labels, own, **({"multi_class": "ovr"} if several else {}))
    return {
        "accuracy": metrics.accuracy_score(labels, p.argmax(axis=1)),
        "balanced accuracy": metrics.balanced_accuracy_score(labels, p.argmax(axis=1)),
        "log loss": metrics.log_loss(labels, p),
        "mean AUC" if several else "AUC of class 1": areas,
    }


@functools.cache
def board_of(name: str, framework: str) -> pellucid.Board:
    x, _, labels = data(name)
    model, _ = testing.build(name, framework)
    site = np.where(labels == 0, "north", "south")
    return pellucid.board(
        model, testing.to_layout(x, framework), labels, examples=int(name != "sigmoid"),
        slices={"site": site},
    )  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", ["cnn", "dense", "sigmoid"])
def test_the_scores_are_those_of_the_weights_in_every_framework(name: str, framework: str):
    _, p, labels = data(name)
    found = board_of(name, framework)
    for score, value in expected(p, labels).items():
        assert found.score(score).value == pytest.approx(value, rel=1e-4), score
    assert (found.performance.confusion == metrics.confusion_matrix(labels, p.argmax(axis=1))).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_examples_of_pictures_and_tables_are_explained_in_every_framework(framework: str):
    pictures, table = board_of("cnn", framework), board_of("dense", framework)
    # A module of TensorFlow alone has no layers to look at.
    expected = "integrated_gradients" if framework == "tensorflow" else "gradcam"
    assert pictures.explanation.method == expected
    assert table.explanation.method == "expected_gradients"
    for found in (pictures, table):
        assert [g.title for g in found.examples] == ["Surely wrong", "Least sure", "Surely right"]
        assert all(e.place is not None for group in found.examples for e in group.examples)
    assert "The input of Row" in pictures.to_html()


@pytest.mark.parametrize("name", ["cnn", "dense", "sigmoid"])
def test_rows_slices_and_what_counts_are_the_same_in_every_framework(name: str):
    found = [summary(board_of(name, framework)) for framework in FRAMEWORKS]
    assert all(one == found[0] for one in found[1:])


def summary(found: pellucid.Board) -> dict[str, object]:
    """Rows to look at, columns and how they lie, conditions searched, importance."""
    counts = None
    if found.importance is not None:
        counts = sorted((name, round(lost, 6)) for name, lost, *_ in found.importance.rows)
    return {
        "rows": [(g.title, [e.row for e in g.examples]) for g in found.examples],
        "columns": [(d.name, d.counts.tolist()) for d in found.inputs],
        "searched": found.slices.tested,
        "importance": counts,
    }


def test_a_series_is_drawn_as_one_and_sliced_by_its_level():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2, 24)).astype(np.float32)
    level = rng.choice([-2.0, 2.0], 200).astype(np.float32)
    x += level[:, None, None]
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(2, 3, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(60, 3)
    )
    with torch.no_grad():
        # Kernels that add up to 0 see no level: it goes with errors, and with nothing else.
        net[0].weight -= net[0].weight.mean(dim=(1, 2), keepdim=True)
        said = net(torch.from_numpy(x)).argmax(dim=1).numpy()
    wrong = (level > 0) & (rng.random(200) < 0.5)
    labels = np.where(wrong, (said + 1) % 3, said)
    found = pellucid.board(net, x, labels, examples=1)
    assert found.score("accuracy").value == 1 - wrong.mean()
    assert [d.name for d in found.inputs] == ["mean level", "spread"]
    assert any("mean level" in c for s in found.slices for c in s.conditions)
    assert found.explanation.method == "integrated_gradients"
    assert found.explanation.values.shape == (len(found.explanation), 2, 24)
    assert found.importance is None
    assert found.to_html().count("data:image") > len(found.explanation)
