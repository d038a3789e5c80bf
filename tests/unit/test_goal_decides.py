"""Each part of a goal decides: what would win without it does not win with it."""

import time

import numpy as np
import pytest

from pellucid import Goal, register_method, search
from pellucid.methods.registry import unregister_method

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(12, 3)).astype(np.float32)
X = RNG.normal(size=(24, 12)).astype(np.float32)


def linear(x):
    return np.asarray(x) @ WEIGHTS


@pytest.fixture
def costly():
    """Occlusion that takes 200 MiB, and half a second where it is asked of one sample alone."""

    @register_method("costly", family="perturbation", modalities={"table"}, cost="12 F")
    def costly(model, x, target):
        """What the score loses without each column."""
        held = np.ones(200 * 2**17)
        time.sleep(0.5 * held[0] * (len(x) == 1))
        found = np.zeros_like(x)
        for column in range(x.shape[1]):
            without = x.copy()
            without[:, column] = 0
            found[:, column] = model.score(x) - model.score(without)
        return found

    yield
    unregister_method("costly")


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"seconds": 0.3}, "seconds"), ({"memory": 50}, "memory"), ({"evaluations": 5}, "5 allowed")],
)
@pytest.mark.usefixtures("costly")
def test_what_breaks_a_limit_does_not_win(limit, words):
    about = {"weights": {"credibility": 1}, "methods": ["costly", "random"], "metrics": ["C1"]}
    assert search(linear, X, Goal(**about), batch_size=64).chosen == "costly"
    found = search(linear, X, Goal(**about, **limit), batch_size=64)
    assert found.chosen == "random"
    assert words in found.trial("costly").reason


@pytest.mark.usefixtures("costly")
def test_a_limit_that_is_kept_changes_nothing():
    goal = Goal({"credibility": 1}, methods=["costly", "random"], metrics=["C1"],
                seconds=60, memory=4000, evaluations=100)  # fmt: skip
    assert search(linear, X, goal, batch_size=64).chosen == "costly"


@pytest.mark.parametrize(
    ("weights", "chosen"), [({"credibility": 1}, "occlusion"), ({"speed": 1}, "constant")]
)
def test_the_weights_of_the_axes_decide(weights, chosen):
    goal = Goal(weights, methods=["occlusion", "constant"], metrics=["C1"])
    assert search(linear, X, goal, batch_size=64).chosen == chosen


def test_of_two_models_as_accurate_the_one_that_is_explained_better_is_chosen():
    """One answers by degrees, the other with the same classes and nothing between them."""

    def sudden(x):
        return np.eye(3, dtype=np.float32)[linear(x).argmax(axis=1)]

    labels = linear(X).argmax(axis=1)
    goal = Goal({"credibility": 1}, methods=["occlusion"], metrics=["C2"])
    for models in ({"degrees": linear, "sudden": sudden}, {"sudden": sudden, "degrees": linear}):
        found = search(models, X, goal, labels=labels, batch_size=64)
        assert found.accuracy == {"degrees": 1.0, "sudden": 1.0}
        assert found.chosen == "degrees: occlusion"
