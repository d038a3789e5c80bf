"""Every score on series, words and tables in every framework, and by a function that only runs.

Pictures and tables of the same weights in all frameworks are in `test_standard_agrees.py`; here the
same small readers of series and words are written in each, and must get the same numbers.
"""

from functools import cache

import numpy as np
import pytest

from pellucid import evaluate, wrap
from pellucid.standard import Scorecard, registered_metrics

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(6, 10, 2)).astype(np.float32)
WORDS = RNG.integers(1, 12, size=(6, 7)).astype(np.float32)
READ = RNG.normal(size=(2, 4)).astype(np.float32)
TABLE = RNG.normal(size=(12, 4)).astype(np.float32)
HEAD = RNG.normal(size=(4, 3)).astype(np.float32)
ASKED = sorted(set(registered_metrics()) - {"speed", "scalability", "parameter_dependence",
                                            "randomisation_cascade"})  # fmt: skip
"""The clock says nothing of frameworks; weights of a plain function are not to be seen."""
NOISY = {"local_infidelity", "infidelity", "input_stability", "max_sensitivity"}
"""Noise is drawn in the shape of x, which in torch has the channels of a series first."""


def series_in(framework: str):
    """tanh(x W) averaged over steps, a head: `(n, steps, 2)`, in torch `(n, 2, steps)`, to 3."""
    if framework == "callable":
        return lambda x: np.tanh(np.asarray(x) @ READ).mean(axis=1) @ HEAD
    if framework == "torch":
        import torch

        read, head = torch.from_numpy(READ), torch.from_numpy(HEAD)
        return lambda x: torch.tanh(x.mT @ read).mean(dim=1) @ head
    if framework == "tensorflow":
        import tensorflow as tf

        return lambda x: tf.reduce_mean(tf.tanh(x @ READ), axis=1) @ HEAD
    if framework == "jax":
        import jax.numpy as jnp

        return lambda x: jnp.tanh(x @ READ).mean(axis=1) @ HEAD
    import keras

    whole = keras.Sequential(
        [
            keras.layers.Input((10, 2)),
            keras.layers.Dense(4, activation="tanh", use_bias=False),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, use_bias=False),
        ]
    )
    whole.set_weights([READ, HEAD])
    return whole


def words_in(framework: str):
    """The mean of word vectors, tanh, and a head: `(n, words)` as numbers to `(n, 3)`."""
    if framework == "callable":
        return lambda x: np.tanh(TABLE[np.rint(np.clip(x, 0, 11)).astype(int)].mean(axis=1)) @ HEAD
    if framework == "torch":
        import torch

        table, head = torch.from_numpy(TABLE), torch.from_numpy(HEAD)
        return lambda x: torch.tanh(table[x.clamp(0, 11).round().long()].mean(dim=1)) @ head
    if framework == "tensorflow":
        import tensorflow as tf

        def read_words(x):
            words = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 11.0)), "int32")
            return tf.tanh(tf.reduce_mean(tf.gather(TABLE, words), axis=1)) @ HEAD

        return read_words
    if framework == "jax":
        import jax.numpy as jnp

        return lambda x: (
            jnp.tanh(jnp.asarray(TABLE)[jnp.rint(jnp.clip(x, 0, 11)).astype(int)].mean(axis=1))
            @ HEAD
        )
    import keras

    asked = keras.layers.Input((7,))
    words = keras.ops.round(keras.ops.clip(asked, 0.0, 11.0))
    vectors = keras.layers.Embedding(12, 4)(words)
    mean = keras.layers.GlobalAveragePooling1D()(vectors)
    out = keras.layers.Dense(3, use_bias=False)(keras.ops.tanh(mean))
    whole = keras.Model(asked, out)
    whole.set_weights([TABLE, HEAD])
    return whole


KINDS = {"series": (series_in, SERIES), "words": (words_in, WORDS)}


@cache
def judged(kind: str, framework: str) -> Scorecard:
    make, x = KINDS[kind]
    made = make(framework)
    if kind == "series" and framework == "torch":
        x = np.swapaxes(x, 1, 2)
    if framework != "keras":
        made = wrap(made, framework=framework)
    masks = np.zeros(KINDS[kind][1].shape[:2], bool)
    masks[:, 2:5] = True
    options = {"baseline": 0, "budget": 60}
    return evaluate(
        made, x, [("kernel_shap", options)], standard=ASKED, masks=masks, batch_size=128,
        imputers=["dataset", "zeros"],
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax", "keras"])
def test_every_score_is_that_of_a_plain_function(framework, kind):
    ours, plain = judged(kind, framework), judged(kind, "callable")
    assert ours.imputers == plain.imputers
    for name in ("kernel_shap", "random", "edges", "constant"):
        assert set(ours.scores[name]) == set(plain.scores[name]) == set(ASKED)
        for metric, ways in plain.scores[name].items():
            if metric in NOISY and (framework, kind) == ("torch", "series"):
                continue
            for way, values in ways.items():
                np.testing.assert_allclose(
                    ours.scores[name][metric][way], values, rtol=5e-3, atol=1e-3,
                    err_msg=f"{name}: {metric} {way}",
                )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_score_has_numbers_or_says_where_it_has_none(kind):
    card = judged(kind, "callable")
    text = str(card)
    for metric in card.metrics:
        ways = card.scores["kernel_shap"][metric.name]
        for way, values in metric.scored(ways):
            assert np.isfinite(values).sum() >= 4 or metric.without in text, (metric.name, way)


def test_trees_that_can_only_be_run_are_judged():
    from sklearn.ensemble import RandomForestClassifier

    x = RNG.normal(size=(40, 5))
    forest = RandomForestClassifier(8, random_state=0).fit(x, x[:, 0] > 0)
    card = evaluate(forest, x[:6], ["tree_shap"], standard=ASKED, background=x, batch_size=64,
                    masks=np.tile([True, False, False, False, False], (6, 1)))  # fmt: skip
    assert set(card.scores["tree_shap"]) == set(ASKED)
    assert card.summary("tree_shap", "localisation_lift").median > 0.3
    assert card.summary("tree_shap", "subset_correlation").median > 0.5
