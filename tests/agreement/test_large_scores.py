"""DeepLIFT where a softmax has scores as large as in trained networks, against the paper's form."""

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


def test_a_token_that_one_run_alone_hides_has_its_part():
    """A padded token of one run: its power's whole change is its score's, so that nothing lacks."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)

    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.layer = torch.nn.Embedding(20, 8), layer
            self.head = torch.nn.Linear(8, 3)

        def forward(self, ids):
            return self.head(self.layer(self.emb(ids), src_key_padding_mask=ids == 0)[:, 0])

    ids = torch.tensor([[3, 5, 7, 2, 9], [4, 6, 8, 0, 0]])
    others = torch.tensor([[3, 5, 7, 0, 0], [4, 6, 8, 1, 1]])
    model = Padded().eval()
    e = explain(model, ids, "deeplift", layer="emb", baseline=others, target=1)
    assert gap_of(e) < 1e-4
    e = explain(model, ids, "deep_shap", layer="emb", background=others, target=1)
    assert gap_of(e) < 1e-4
