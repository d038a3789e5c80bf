"""Where in pictures a model looks, and which words count: planted, and by hand."""

import json

import numpy as np
import pytest
import torch

import pellucid
from pellucid.board.places import FEWEST


def pictures(moving: bool, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A bright spot in one of two corners, by class; or of either sign, anywhere."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    x = 0.02 * rng.normal(size=(count, 16, 16, 1)).astype(np.float32)
    for i, label in enumerate(labels):
        row, column = rng.integers(0, 8, 2) * 2 if moving else ((2, 2) if label else (12, 10))
        x[i, row : row + 2, column : column + 2] += (1 if label else -1) if moving else 1
    return x, labels


class Spots(torch.nn.Module):
    """Reads two corners of a picture, one for each class, and nothing else of it."""

    def forward(self, x):
        return torch.stack([x[:, 0, 12:14, 10:12].sum((1, 2)), x[:, 0, 2:4, 2:4].sum((1, 2))], 1)


class Sums(torch.nn.Module):
    """Whether what is bright outweighs what is dark, wherever it is."""

    def forward(self, x):
        total = (x**3).sum((1, 2, 3))
        return torch.stack([-total, total], 1)


def test_the_cells_that_a_model_reads_are_found():
    x, labels = pictures(moving=False)
    own = {"method": "gradient_x_input", "examples": 2}
    found = pellucid.board(Spots(), np.moveaxis(x, -1, 1), labels, **own)
    places = found.places
    assert places.means.shape == (2, 8, 8)
    assert places.counts == tuple(np.bincount(labels))
    # All of it lies in one cell, or in the two corners where both weigh on a class.
    np.testing.assert_allclose(places.means.sum(axis=(1, 2)), 1, rtol=1e-6)
    assert np.unravel_index(places.means[0].argmax(), (8, 8)) == (6, 5)
    assert np.unravel_index(places.means[1].argmax(), (8, 8)) == (1, 1)
    assert places.means[0, 6, 5] == pytest.approx(1, abs=1e-6)
    assert places.registered
    assert (places.low <= places.means + 1e-9).all()
    assert (places.means <= places.high + 1e-9).all()
    page = found.to_html()
    assert "so a place means about the same in all of them" in page
    assert "row 7, column 6: 100.0 % (100.0 to 100.0)" in page
    document = json.loads(json.dumps(found.to_dict()["places"], allow_nan=False))
    assert document["classes"][1]["pictures"] == places.counts[1]
    stage = next(s for s in found.stages if s.name == "places")
    spent = pellucid.explain(Spots(), np.moveaxis(x, -1, 1), "gradient_x_input").evaluations
    assert (stage.rows, stage.evaluations) == (120, spent.forward)


def test_means_and_intervals_are_those_of_the_maps():
    x, labels = pictures(moving=True)
    x = np.moveaxis(x, -1, 1)
    found = pellucid.board(Sums(), x, labels, method="gradient_x_input", examples=1, seed=3)
    maps = np.abs(pellucid.explain(Sums(), x, "gradient_x_input").values)
    cells = maps.reshape(len(x), 8, 2, 8, 2).sum(axis=(2, 4)).astype(float)
    cells /= cells.sum(axis=(1, 2), keepdims=True)
    said = Sums()(torch.from_numpy(x)).argmax(1).numpy()
    for c in (0, 1):
        own = cells[said == c]
        np.testing.assert_allclose(found.places.means[c], own.mean(axis=0), rtol=1e-5)
        rng = np.random.default_rng(99)
        means = [own[rng.integers(0, len(own), len(own))].mean(axis=0) for _ in range(1500)]
        low, high = np.quantile(means, [0.025, 0.975], axis=0)
        # Means move by one picture's share; a quantile of draws may fall on the next one.
        np.testing.assert_allclose(found.places.low[c], low, atol=1.01 / len(own))
        np.testing.assert_allclose(found.places.high[c], high, atol=1.01 / len(own))
        corr = np.mean([
            np.corrcoef(own[i].ravel(), np.delete(own, i, 0).mean(axis=0).ravel())[0, 1]
            for i in range(len(own))
        ])  # fmt: skip
        assert found.places.agreement[c] == pytest.approx(corr, abs=1e-6)


def test_where_things_stand_elsewhere_in_every_picture_a_word_says_so():
    x, labels = pictures(moving=True)
    found = pellucid.board(Sums(), np.moveaxis(x, -1, 1), labels, method="gradient_x_input")
    assert not found.places.registered
    assert "things lie elsewhere in every picture, as in photographs" in found.to_html()


def test_classes_of_few_pictures_and_tables_have_no_map():
    x, labels = pictures(moving=False, count=FEWEST - 1)
    few = pellucid.board(Spots(), np.moveaxis(x, -1, 1), labels, method="saliency")
    assert few.places is None
    assert few.to_html()


class Reads(torch.nn.Module):
    """Adds up one number a word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(12, 2)
        with torch.no_grad():
            self.words.weight.zero_()
            self.words.weight[7] = torch.tensor([0.0, 3.0])
            self.words.weight[3] = torch.tensor([1.0, 0.0])

    def forward(self, x):
        return self.words(x).sum(1)


def test_words_of_a_model_with_preprocessing_are_preprocessed_once():
    x = np.random.default_rng(0).integers(1, 11, size=(60, 6))
    plain = pellucid.board(Reads(), x, np.zeros(60, int), examples=0)
    moved = pellucid.wrap(Reads(), preprocess=lambda a: np.asarray(a) + 1)
    made = pellucid.board(moved, x - 1, np.zeros(60, int), examples=0)
    assert made.importance.rows == plain.importance.rows


def test_the_words_that_count_are_found_with_how_often_they_occur():
    rng = np.random.default_rng(0)
    x = rng.integers(1, 12, size=(60, 6))
    x[:, 0] = np.where(x[:, 0] == 11, 1, x[:, 0])
    with torch.no_grad():
        labels = Reads()(torch.from_numpy(x)).argmax(1).numpy()
    found = pellucid.board(Reads(), x, labels, examples=1)
    rows = found.importance.rows
    assert found.importance.statistic == "mean |a| of an occurrence"
    assert rows[0][0] == f"word 7 ({(x == 7).sum()} times)"
    assert rows[1][0] == f"word 3 ({(x == 3).sum()} times)"
    # A word counts for the class predicted alone: 3 in texts of the class 1, else 0.
    inside = (x == 7).sum(axis=1)
    assert rows[0][1] == pytest.approx((3 * inside * (labels == 1)).sum() / inside.sum(), rel=1e-5)
    assert rows[0][2] < rows[0][1] <= rows[0][3]
    assert all(mean == 0 for _, mean, _, _ in rows[2:])
    page = found.to_html()
    assert "Words by their numbers" in page
    assert ">Word</th>" in page
