"""The metrics' own test: on scores whose answer is known, and the standard's on a trained CNN."""

import numpy as np
import pytest
from trained import digits

from pellucid import register_metric
from pellucid.errors import InputError
from pellucid.standard import unregister_metric
from pellucid.testing import self_test

METHODS = ["integrated_gradients", "saliency"]


@pytest.fixture
def known():
    """A score that never moves, and one that is as it was until the class is another."""

    @register_metric("unmoved", better="higher")
    def unmoved(case):
        return np.full(case.count, float(len(case.explanation.method)))

    @register_metric("perfect", better="higher")
    def perfect(case):
        same = case.subject.outputs.argmax(1) == case.subject.task.target.chosen
        return np.where(same, np.full(case.count, float(len(case.explanation.method))), 0.0)

    yield
    for name in ("unmoved", "perfect"):
        unregister_metric(name)


@pytest.mark.parametrize("space", ["model", "input"])
def test_scores_whose_answer_is_known(known, space):
    own = digits()
    found = self_test(own.model, own.x[:24], METHODS, standard=["unmoved", "perfect"], space=space,
                      draws=2, background=own.seen[:50], batch_size=256)  # fmt: skip
    assert found["unmoved"] == (1.0, 0.0, 1.0, 0.0)
    assert found["unmoved"].meta_consistency == 0.5
    one, react, order, worse = found["perfect"]
    assert (one, order, worse) == (1.0, 1.0, 1.0)
    assert react > 0.99


def test_the_standard_s_scores_on_the_trained_cnn():
    own = digits()
    found = self_test(own.model, own.x[:32], METHODS, draws=2,
                      background=own.seen[:100], batch_size=256)  # fmt: skip
    assert set(found) == {
        "srg (dataset)", "srg (blur)", "subset_correlation (dataset)", "subset_correlation (blur)",
        "local_infidelity", "effective_fraction",
    }  # fmt: skip
    for label, own_reliability in found.items():
        assert all(0 <= value <= 1 for value in own_reliability), label
        assert own_reliability.inter_resilience > 0.9, label  # weights moved by a thousandth
        assert own_reliability.meta_consistency > 0.5, label


def test_models_without_classes_are_refused():
    with pytest.raises(InputError, match="two classes"):
        self_test(lambda a: a.sum(axis=1), np.ones((4, 3)), ["occlusion"], draws=1)
