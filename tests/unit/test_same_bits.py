"""Same seed, same bits on every framework: what is left to differ is the models' own outputs.

This model's sums are exact in float32 whatever their order, so its outputs are the same bits
everywhere; then so is all that is made of them.
"""

import numpy as np
import pytest

from pellucid import explain, wrap

RNG = np.random.default_rng(0)
ONE = RNG.integers(-3, 4, (6, 8)).astype(np.float32)
TWO = RNG.integers(-3, 4, (8, 2)).astype(np.float32)
X = RNG.integers(-8, 9, (4, 6)).astype(np.float32) / 8
ROWS = RNG.integers(-8, 9, (8, 6)).astype(np.float32) / 8
METHODS = {
    "exact_shapley": {},
    "kernel_shap": {"budget": 30},
    "kernel_shap, background": {"budget": 240, "background": ROWS},
    "permutation_shap": {"budget": 40},
    "partition_shap": {"budget": 40},
    "shapley_interactions": {},
    "lime": {"budget": 40},
    "lime, background": {"budget": 100, "background": ROWS},
    "rise": {"budget": 40},
    "hsic": {"budget": 40},
    "occlusion": {},
    "feature_permutation": {},
}


def plain():
    return wrap(lambda x: np.maximum(x @ ONE, 0) @ TWO)


def with_torch():
    torch = pytest.importorskip("torch")
    one, two = torch.tensor(ONE), torch.tensor(TWO)
    return wrap(lambda x: torch.relu(x @ one) @ two, framework="torch")


def with_jax():
    jax = pytest.importorskip("jax")
    return wrap(lambda x: jax.nn.relu(x @ ONE) @ TWO, framework="jax")


def with_tensorflow():
    tf = pytest.importorskip("tensorflow")
    return wrap(lambda x: tf.matmul(tf.nn.relu(tf.matmul(x, ONE)), TWO), framework="tensorflow")


@pytest.mark.parametrize("build", [with_torch, with_jax, with_tensorflow])
@pytest.mark.parametrize("name", list(METHODS))
def test_equal_outputs_give_equal_bits(name, build):
    method = name.partition(",")[0]
    expected = explain(plain(), X, method, target=1, seed=3, **METHODS[name])
    found = explain(build(), X, method, target=1, seed=3, **METHODS[name])
    assert found.prediction.tobytes() == expected.prediction.tobytes()
    assert found.values.tobytes() == expected.values.tobytes()
    assert (found.stderr is None) == (expected.stderr is None)
    if expected.stderr is not None:
        assert found.stderr.tobytes() == expected.stderr.tobytes()
    for extra in ("unit_values", "interactions", "importance", "intercept", "r2"):
        if extra in expected.extras:
            assert found.extras[extra].tobytes() == expected.extras[extra].tobytes()
    other = explain(build(), X, method, target=1, seed=4, **METHODS[name])
    if expected.stderr is not None and expected.stderr.any():
        assert other.values.tobytes() != expected.values.tobytes(), "another seed, other draws"
