"""Against Quantus 0.6: where it is right we agree; where it is wrong ours is the paper's number."""

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import evaluate, explain
from pellucid.standard.removal import STEPS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]
quantus = pytest.importorskip("quantus", reason="a peer of the slow tests")

COUNT, SIDE, CLASSES = 6, 8, 3
SIZE = SIDE * SIDE
PLAIN = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIZE, 24), nn.Tanh(), nn.Linear(24, CLASSES)
    ).eval()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((COUNT, 1, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def labels(net, x):
    return net(torch.from_numpy(x)).argmax(1).numpy()


@pytest.fixture(scope="module")
def maps(net, x, labels):
    return explain(net, x, "gradient_x_input", target=labels.tolist()).values


def ours(net, x, given, metric, labels, **options):
    card = evaluate(net, x, {"own": given}, standard=[metric], target=labels.tolist(),
                    imputers=["zeros"], **options)  # fmt: skip
    (values,) = card.scores["own"][metric].values()
    return values


def theirs(metric, net, x, labels, maps, **more):
    found = metric(model=net, x_batch=x, y_batch=labels, a_batch=maps, device="cpu",
                   channel_first=True, softmax=False, **more)  # fmt: skip
    return np.asarray(found, dtype=np.float64)


def test_pixel_flipping(net, x, labels, maps):
    peer = quantus.PixelFlipping(features_in_step=SIZE // STEPS, perturb_baseline=0.0, **PLAIN)
    curves = theirs(peer, net, x, labels, maps)
    found = ours(net, x, maps, "pixel_flipping", labels)
    np.testing.assert_allclose(found, curves.mean(axis=1), atol=1e-5)


def test_faithfulness_correlation_over_the_same_subsets(net, x, labels, maps, monkeypatch):
    size = round(0.2 * SIZE)
    generator = np.random.default_rng([0, 40, 7])
    subsets = [generator.choice(SIZE, size, replace=False) for _ in range(100)]
    drawn = iter([s for s in subsets for _ in range(COUNT)])
    peer = quantus.FaithfulnessCorrelation(
        nr_runs=100, subset_size=size, perturb_baseline=0.0, return_aggregate=False, **PLAIN
    )
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(drawn))
    expected = theirs(peer, net, x, labels, maps)
    monkeypatch.undo()
    found = ours(net, x, maps, "faithfulness_correlation", labels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_max_sensitivity_over_the_same_noise(net, x, labels, maps):
    generator = np.random.default_rng([0, 40, 8, 0])
    spread = x.std(axis=(0, 2, 3)).astype(np.float64)
    noise = iter([generator.uniform(-0.2, 0.2, x.shape[1:]) * spread for _ in range(10)])

    def near(arr, indices, **_):
        return (arr + next(noise).reshape(1, -1)).astype(np.float32)

    def explained(model, inputs, targets, **_):
        return explain(
            model, np.asarray(inputs, np.float32), "gradient_x_input", target=targets.tolist()
        ).values

    peer = quantus.MaxSensitivity(
        nr_samples=10, perturb_func=near, return_nan_when_prediction_changes=False, **PLAIN
    )
    expected = theirs(peer, net, x, labels, maps, explain_func=explained)
    card = evaluate(net, x, ["gradient_x_input"], standard=["max_sensitivity"],
                    target=labels.tolist())  # fmt: skip
    found = card.scores["gradient_x_input"]["max_sensitivity"][""]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "peer"), [("sparseness", "Sparseness"), ("complexity", "Complexity")]
)
def test_spread_of_maps(net, x, labels, maps, name, peer):
    expected = theirs(getattr(quantus, peer)(**{**PLAIN, "abs": True}), net, x, labels, maps.copy())
    np.testing.assert_allclose(ours(net, x, maps, name, labels), expected, atol=1e-5)


def squares() -> np.ndarray:
    masks = np.zeros((COUNT, 1, SIDE, SIDE), dtype=bool)
    for number, own in enumerate(masks):
        own[0, number % 5 : number % 5 + 3, 2:6] = True
    return masks


def test_relevance_rank_accuracy(net, x, labels, maps):
    masks = squares()
    expected = theirs(quantus.RelevanceRankAccuracy(**PLAIN), net, x, labels, maps, s_batch=masks)
    found = ours(net, x, maps, "relevance_rank_accuracy", labels, masks=masks[:, 0])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sensitivity_n_of_an_exact_map_is_one_and_theirs_is_not(x):
    torch.manual_seed(1)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, CLASSES, bias=False)).eval()
    labels = np.zeros(COUNT, dtype=int)
    exact = explain(linear, x, "gradient_x_input", target=0).values
    peer = quantus.SensitivityN(features_in_step=1, perturb_baseline=0.0, **PLAIN)
    wrong = np.nanmean(theirs(peer, linear, x, labels, exact))
    assert wrong < 0.9
    np.testing.assert_allclose(  # Ancona et al. 2018: 1 for every n where the model is linear
        ours(linear, x, exact, "subset_correlation", labels), 1, atol=1e-4
    )


def test_an_empty_mask_is_no_hit(net, x, labels, maps):
    empty = np.zeros((COUNT, 1, SIDE, SIDE), dtype=bool)
    wrong = theirs(quantus.PointingGame(**PLAIN), net, x, labels, maps, s_batch=empty)
    assert wrong.all()
    found = ours(net, x, maps, "pointing_game", labels, masks=empty[:, 0])
    assert np.isnan(found).all()


def test_relevance_mass_of_signed_maps_stays_a_share(net, x, labels, maps):
    masks = squares()
    wrong = theirs(quantus.RelevanceMassAccuracy(**PLAIN), net, x, labels, maps, s_batch=masks)
    assert (wrong > 1).any() or (wrong < 0).any()
    found = ours(net, x, maps, "relevance_mass_accuracy", labels, masks=masks[:, 0])
    positive = np.maximum(maps[:, 0], 0)  # Arras et al. 2022, eq. 1, of positive evidence
    np.testing.assert_allclose(
        found, (positive * masks[:, 0]).sum(axis=(1, 2)) / positive.sum(axis=(1, 2)), atol=1e-5
    )
