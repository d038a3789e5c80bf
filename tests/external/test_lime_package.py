"""LIME against the `lime` package: means over seeds agree, ours no less sure of themselves."""

import numpy as np
import pytest

from pellucid import explain

pytestmark = pytest.mark.slow
lime_image = pytest.importorskip("lime.lime_image", reason="the lime package is a peer")
lime_tabular = pytest.importorskip("lime.lime_tabular", reason="the lime package is a peer")
SEEDS = range(8)


def correlation(a, b) -> float:
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def picture_model(z):
    """Two classes that look at smooth windows together, `(m, 2)` probabilities."""
    rows, columns = np.mgrid[:28, :28]
    one = np.exp(-((rows - 9) ** 2 + (columns - 18) ** 2) / 30.0)
    two = np.exp(-((rows - 20) ** 2 + (columns - 8) ** 2) / 60.0)
    a, b = ((z * w[None, :, :, None]).mean(axis=(1, 2, 3)) * 20 for w in (one, two))
    score = 3 * a - 2 * b - a * b
    return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)


@pytest.mark.parametrize("hidden", ["mean", "zero"])
def test_images(hidden):
    rng = np.random.default_rng(0)
    image = rng.random((7, 7, 3)).repeat(4, axis=0).repeat(4, axis=1) * 0.8 + 0.2
    place = np.arange(28) * 6 // 28
    units = place[:, None] * 6 + place

    def theirs(seed):
        found = lime_image.LimeImageExplainer(random_state=seed).explain_instance(
            image, picture_model, labels=(1,), top_labels=None, num_samples=1000,
            hide_color=None if hidden == "mean" else 0, segmentation_fn=lambda _: units,
        )  # fmt: skip
        return np.array([w for _, w in sorted(found.local_exp[1])])

    def ours(seed):
        e = explain(
            picture_model, image[None], "lime", target=1, features=units, ridge=1.0, seed=seed,
            baseline=None if hidden == "mean" else 0.0,
        )  # fmt: skip
        return e.extras["unit_values"][0]

    mine, other = (np.array([run(seed) for seed in SEEDS]) for run in (ours, theirs))
    assert correlation(mine.mean(0), other.mean(0)) > 0.999
    assert np.median(mine.std(0)) <= 1.1 * np.median(other.std(0))


def test_tables():
    """A little apart for good: real values in each bin here, a truncated normal there.

    Over 24 seeds the means correlate .9988, those of two halves of the package's own .9990.
    """
    rng = np.random.default_rng(0)
    train = rng.normal(size=(1000, 8)) @ (np.eye(8) + rng.normal(size=(8, 8)) / 6)
    one, two = rng.normal(size=(8, 24)) / 2, rng.normal(size=(24, 3)) / 2

    def model(z):
        scores = np.maximum(z @ one, 0) @ two
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    rows = train[:4]

    def theirs(seed):
        made = lime_tabular.LimeTabularExplainer(train, random_state=seed)
        found = [
            made.explain_instance(row, model, labels=(0,), num_features=8, num_samples=5000)
            for row in rows
        ]
        return [[w for _, w in sorted(f.local_exp[0])] for f in found]

    def ours(seed):
        e = explain(
            model, rows, "lime", target=0, background=train, ridge=1.0, seed=seed, budget=5000
        )
        return e.values

    mine, other = (np.array([run(seed) for seed in SEEDS]) for run in (ours, theirs))
    assert correlation(mine.mean(0), other.mean(0)) > 0.997
    assert np.median(mine.std(0)) <= 1.1 * np.median(other.std(0))
