"""What a game of features holds at once does not grow with coalitions × reference rows."""

import tracemalloc

import numpy as np
import pytest

from pellucid import explain
from pellucid.inputs.summaries import WeightedRows
from pellucid.methods.perturbation import distinct, game

MIB = 2**20


def added_up(z):
    flat = z.reshape(len(z), -1)
    return np.stack([flat.mean(axis=1), flat[:, 0] * flat[:, -1]], axis=1)


def peak(x, **options):
    """MiB held beyond the result while kernel_shap works."""
    tracemalloc.start()
    try:
        explain(added_up, x, "kernel_shap", target=0, **options)
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_wide_rows_that_share_values_with_a_background():
    """Coalitions × background rows × players are never held: as truth values 90 MiB here."""
    rng = np.random.default_rng(0)
    x, background = np.ones((1, 392), np.float32), np.ones((300, 392), np.float32)
    background[:, ::50] = rng.normal(size=(300, 8))
    held = peak(x, background=background, budget=300 * 800, batch_size=1000)
    assert held < 60, f"{held:.0f} MiB"


def test_superpixels_of_a_picture_with_a_background():
    """A micro-batch of 16 holds 16 pictures, where one coalition on all 50 would be 29 MiB."""
    rng = np.random.default_rng(1)
    coarse = rng.random((51, 3, 7, 7)).astype(np.float32)
    pictures = coarse.repeat(32, axis=2).repeat(32, axis=3)
    held = peak(
        pictures[:1], background=pictures[1:], features="superpixels:8", budget=22 * 50,
        batch_size=16,
    )  # fmt: skip
    assert held < 60, f"{held:.0f} MiB"


@pytest.mark.parametrize("kind", ["plain", "weighted", "conditional"])
def test_blocks_of_reference_rows_give_the_same(monkeypatch, kind):
    """As many evaluations and the same values, however few items are looked at together."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 3, (3, 6)).astype(np.float32)
    background = rng.normal(size=(23, 6)).astype(np.float32)
    background[:, :4] = rng.integers(0, 3, (23, 4))
    given = {"background": background}
    if kind == "weighted":
        weights = rng.random(23)
        given["background"] = WeightedRows(background, weights / weights.sum())
    if kind == "conditional":
        given["value_function"] = "conditional"

    def run():
        return explain(
            added_up, x, "kernel_shap", target=1, budget=23 * 40, batch_size=37, **given
        )  # fmt: skip

    whole = run()
    for items in (5 * 38, 30):
        monkeypatch.setattr(game, "_ITEMS", items)
        monkeypatch.setattr(distinct, "_HELD", 100)
        blocks = run()
        assert blocks.evaluations == whole.evaluations
        np.testing.assert_allclose(blocks.values, whole.values, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(blocks.stderr, whole.stderr, rtol=1e-5, atol=1e-7)
