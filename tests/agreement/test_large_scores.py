"""DeepLIFT where a softmax has scores as large as in trained networks, against the paper's form."""

from typing import Any

import numpy as np
import pytest

from pellucid import Explanation, explain, wrap
from pellucid.testing.nodes import Node, send_back
from pellucid.testing.oracles_backward import Tape

SCALES = (1, 3, 10, 30)
DRAWS = np.random.default_rng(12)
X, B = (DRAWS.normal(size=(4, 5, 6)).astype(np.float32) for _ in range(2))
PROJECTIONS = (0.4 * DRAWS.normal(size=(3, 6, 6))).astype(np.float32)
FRAMEWORKS = ("torch", "tensorflow", "jax")


def gap_of(e: Explanation) -> float:
    assert e.gap is not None
    return float(e.gap.max())


def attending(framework: str, scale: float):
    """`softmax(scale² q kᵀ) v`, as each framework has it, and one softmax over what that gives."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        query, key, value = map(torch.from_numpy, PROJECTIONS)

        def by_torch(x):
            made = torch.nn.functional.scaled_dot_product_attention(
                scale * x @ query, x @ key, x @ value, scale=1.0
            )
            return torch.softmax(scale * made.sum(dim=1), dim=-1)

        return by_torch
    if framework == "jax":
        pytest.importorskip("jax")
        import jax
        import jax.numpy as jnp

        query, key, value = map(jnp.asarray, PROJECTIONS)

        def by_jax(x):
            scores = scale * jnp.einsum("nqc,nkc->nqk", x @ query, x @ key)
            made = jax.nn.softmax(scores) @ (x @ value)
            return jax.nn.softmax(scale * made.sum(axis=1))

        return by_jax
    tf = pytest.importorskip("tensorflow")
    weights = PROJECTIONS

    def by_tensorflow(x):
        scores = scale * tf.matmul(x @ weights[0], x @ weights[1], transpose_b=True)
        made = tf.matmul(tf.nn.softmax(scores), x @ weights[2])
        return tf.nn.softmax(scale * tf.reduce_sum(made, axis=1))

    return by_tensorflow


def in_the_papers_form(scale: float, target: int) -> np.ndarray:
    """Attributions in float64, each exponential and logarithm by Δy / Δx."""
    tape = Tape({}, "rescale")
    x = Node(X.astype(float), B.astype(float))
    query, key, value = (
        x.linear(lambda v, w=w: v @ w, lambda m, w=w: m @ w.T) for w in PROJECTIONS.astype(float)
    )
    scores = tape.product(
        lambda q, k: scale * q @ k.transpose(0, 2, 1), query, key,
        lambda m, k: scale * m @ k, lambda m, q: scale * m.transpose(0, 2, 1) @ q,
    )  # fmt: skip
    made = tape.product(
        lambda s, v: s @ v, tape.softmax(scores), value,
        lambda m, v: m @ v.transpose(0, 2, 1), lambda m, s: s.transpose(0, 2, 1) @ m,
    )  # fmt: skip
    steps = X.shape[1]
    summed = made.linear(
        lambda v: scale * v.sum(axis=1), lambda m: scale * np.repeat(m[:, None], steps, axis=1)
    )
    output = tape.softmax(summed)
    send_back(output, np.eye(output.shape[-1])[np.full(len(X), target)])
    return x.change * x.total


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("scale", SCALES)
def test_deeplift_adds_up_however_sure_the_attention_is(framework, scale):
    model = wrap(attending(framework, scale), framework=framework, output="probability")
    target = 2
    e = explain(model, X, "deeplift", baseline=B, target=target)
    truth = in_the_papers_form(scale, target)
    whole = np.abs(truth).max()
    assert np.abs(e.values - truth).max() < 1e-4 * max(whole, 1)
    change = truth.sum(axis=(1, 2))
    assert np.abs(e.values.sum(axis=(1, 2)) - change).max() < 1e-4


def padded_model(hidden_by: str):
    """Attention in which tokens of zeros are padding, by a fused call or an added mask."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 3)

    def called(x):
        shown = (x != 0).any(dim=-1)[:, None]
        if hidden_by == "fused":
            return head(torch.nn.functional.scaled_dot_product_attention(x, x, x, shown)[:, 0])
        hidden = torch.zeros(shown.shape).masked_fill(~shown, -1e4)
        return head((torch.softmax(x @ x.transpose(1, 2) + hidden, -1) @ x)[:, 0])

    return wrap(called, framework="torch")


TOKENS, OTHERS = (0.5 * DRAWS.normal(size=(2, 5, 8)).astype(np.float32) for _ in range(2))
TOKENS[0, 3:], OTHERS[1, 2:] = 0, 0
"""Of which some are padding in one of the two runs."""


@pytest.mark.parametrize("method", ["deeplift", "deep_shap"])
def test_a_token_that_one_run_alone_hides_has_its_part(method):
    """Its power's whole change is its score's, so that nothing is missing."""
    given = {"baseline": OTHERS} if method == "deeplift" else {"background": OTHERS}
    options: dict[str, Any] = given
    e = explain(padded_model("fused"), TOKENS, method, target=1, **options)
    assert gap_of(e) < 1e-4


def test_a_mask_that_is_added_in_one_run_alone_is_warned_of():
    """No number that depends on the input tells of such a mask, so its part is missing."""
    e = explain(padded_model("added"), TOKENS, "deeplift", baseline=OTHERS, target=1)
    assert gap_of(e) > 0.01
    assert any("a mask that is another one" in w for w in e.warnings)
