"""Every score on series, words and tables in every framework, and by models that only run.

Pictures and tables of the same weights in all frameworks are in `test_standard_agrees.py`; here the
same small readers of series and words are written in each, and must get the same numbers.
"""

from functools import cache, partial

import numpy as np
import pytest

from pellucid import Goal, evaluate, search, wrap
from pellucid.standard import Scorecard, registered_metrics

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(6, 10, 2)).astype(np.float32)
PICTURES = RNG.normal(size=(6, 4, 5, 2)).astype(np.float32)
WORDS = np.stack([RNG.permutation(11)[:7] + 1 for _ in range(6)]).astype(np.float32)
"""No word twice in a row: of two that count the same, rounding alone would say which is first."""
READ = RNG.normal(size=(2, 4)).astype(np.float32)
TABLE = RNG.normal(size=(12, 4)).astype(np.float32)
HEAD = RNG.normal(size=(4, 3)).astype(np.float32)
ASKED = sorted(set(registered_metrics()) - {"speed", "scalability", "parameter_dependence",
                                            "randomisation_cascade"})  # fmt: skip
"""The clock says nothing of frameworks; weights of a plain function are not to be seen."""
FRAMEWORKS = ["torch", "tensorflow", "jax", "keras", "tensorlayer", "onnx"]
MADE = {"keras", "tensorlayer", "onnx"}
"""A model of these says what it is of."""


def read_in(framework: str, space: tuple[int, ...]):
    """tanh(x W) averaged over space, a head: `(n, *space, 2)`, in torch `(n, 2, *space)`, to 3."""
    axes = tuple(range(1, len(space) + 1))
    if framework == "callable":
        return lambda x: np.tanh(np.asarray(x) @ READ).mean(axis=axes) @ HEAD
    if framework == "torch":
        import torch

        read, head = torch.from_numpy(READ), torch.from_numpy(HEAD)
        return lambda x: torch.tanh(x.movedim(1, -1) @ read).mean(dim=axes) @ head
    if framework in {"tensorflow", "tensorlayer"}:
        import tensorflow as tf

        def read_all(x):
            return tf.reduce_mean(tf.tanh(tf.tensordot(x, READ, 1)), axis=axes) @ HEAD

        return read_all if framework == "tensorflow" else in_tensorlayer((*space, 2), read_all)
    if framework == "jax":
        import jax.numpy as jnp

        return lambda x: jnp.tanh(x @ READ).mean(axis=axes) @ HEAD
    if framework == "onnx":
        return in_onnx(
            [("MatMul", ["x", "READ"], "a"), ("Tanh", ["a"], "b"),
             ("ReduceMean", ["b"], "c", {"axes": axes, "keepdims": 0}),
             ("MatMul", ["c", "HEAD"], "y")],
            (*space, 2), READ=READ, HEAD=HEAD,
        )  # fmt: skip
    import keras

    pooled = {1: keras.layers.GlobalAveragePooling1D, 2: keras.layers.GlobalAveragePooling2D}
    whole = keras.Sequential(
        [
            keras.layers.Input((*space, 2)),
            keras.layers.Dense(4, activation="tanh", use_bias=False),
            pooled[len(space)](),
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
    if framework in {"tensorflow", "tensorlayer"}:
        import tensorflow as tf

        def read_words(x):
            words = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 11.0)), "int32")
            return tf.tanh(tf.reduce_mean(tf.gather(TABLE, words), axis=1)) @ HEAD

        return read_words if framework == "tensorflow" else in_tensorlayer((7,), read_words)
    if framework == "onnx":
        ends = {"low": np.float32(0), "high": np.float32(11)}
        return in_onnx(
            [("Clip", ["x", "low", "high"], "a"), ("Round", ["a"], "b"),
             ("Cast", ["b"], "c", {"to": 7}), ("Gather", ["TABLE", "c"], "d"),
             ("ReduceMean", ["d"], "e", {"axes": [1], "keepdims": 0}), ("Tanh", ["e"], "f"),
             ("MatMul", ["f", "HEAD"], "y")],
            (7,), TABLE=TABLE, HEAD=HEAD, **ends,
        )  # fmt: skip
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


def in_tensorlayer(shape: tuple[int, ...], function):
    """A static model of one layer of the user's own."""
    import tensorlayer as tl

    class Read(tl.layers.Layer):
        def build(self, inputs_shape):
            pass

        def forward(self, x):
            return function(x)

    given = tl.layers.Input([None, *shape])
    made = Read("read")
    made._built = True
    whole = tl.models.Model(inputs=given, outputs=made(given))
    whole.eval()
    return whole


def in_onnx(nodes, shape: tuple[int, ...], **arrays: np.ndarray):
    """A graph from `x (n, *shape)` to `y (n, 3)` of pairs (kind, inputs, output, options)."""
    onnx = pytest.importorskip("onnx", reason="the onnx extra")
    pytest.importorskip("onnxruntime", reason="the onnx extra")
    made = [onnx.helper.make_node(kind, given, [out], **dict(*more))
            for kind, given, out, *more in nodes]  # fmt: skip
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *own])
            for name, own in (("x", shape), ("y", (3,)))]  # fmt: skip
    held = [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    graph = onnx.helper.make_graph(made, "reader", ends[:1], ends[1:], held)
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


KINDS = {
    "series": (partial(read_in, space=(10,)), SERIES),
    "pictures": (partial(read_in, space=(4, 5)), PICTURES),
    "words": (words_in, WORDS),
}
FILLED = {"words": ["dataset", "zeros"], "series": ["dataset", "blur", "linear"],
          "pictures": ["mean", "linear", "inpaint"]}  # fmt: skip


@cache
def judged(kind: str, framework: str) -> Scorecard:
    make, x = KINDS[kind]
    made = make(framework)
    if kind != "words" and framework == "torch":
        x = np.moveaxis(x, -1, 1)
    if framework not in MADE:
        made = wrap(made, framework=framework)
    masks = np.zeros(PICTURES.shape[:3] if kind == "pictures" else KINDS[kind][1].shape[:2], bool)
    masks[:, 2:5] = True
    options = {"baseline": 0, "budget": 60}
    return evaluate(
        made, x, [("kernel_shap", options)], standard=ASKED, masks=masks, batch_size=128,
        imputers=FILLED[kind],
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_score_is_that_of_a_plain_function(framework, kind):
    ours, plain = judged(kind, framework), judged(kind, "callable")
    assert ours.imputers == plain.imputers
    for name in ("kernel_shap", "random", "edges", "constant"):
        assert set(ours.scores[name]) == set(plain.scores[name]) == set(ASKED)
        for metric, ways in plain.scores[name].items():
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


@pytest.mark.parametrize("framework", ["callable", "torch", "onnx"])
def test_words_by_number_are_judged_with_the_usual_imputers(framework):
    """Half a word is none: what is put in is whole, and noise leaves words as they are."""
    ids = WORDS.astype(np.int64)
    if framework == "callable":
        model = wrap(lambda x: np.tanh(TABLE[x].mean(axis=1)) @ HEAD)
    elif framework == "torch":
        import torch

        table, head = torch.from_numpy(TABLE), torch.from_numpy(HEAD)
        model = wrap(lambda x: torch.tanh(table[x].mean(dim=1)) @ head, framework="torch")
    else:
        model = wrap(words_of_numbers_in_onnx())
    card = evaluate(model, ids, [("kernel_shap", {"baseline": 0, "budget": 60}), "occlusion"],
                    standard=[*ASKED], masks=WORDS > 6, batch_size=64)  # fmt: skip
    assert card.imputers == ("dataset", "zeros")
    assert card.summary("kernel_shap", "subset_correlation").median > 0.6
    assert np.isnan(card.scores["occlusion"]["local_infidelity"][""]).all()
    assert "does not change under small noise" in str(card)
    assert np.isnan(card.scores["occlusion"]["input_stability"]["mean"]).all()  # nothing to change
    same = evaluate(words_in("callable"), WORDS, ["occlusion"], standard=["C1", "C2"],
                    imputers=["dataset"], batch_size=64)  # fmt: skip
    for score in ("srg", "subset_correlation"):
        np.testing.assert_allclose(card.scores["occlusion"][score]["dataset"],
                                   same.scores["occlusion"][score]["dataset"],
                                   rtol=1e-3, atol=1e-3)  # fmt: skip


def words_of_numbers_in_onnx():
    made = in_onnx(
        [("Gather", ["TABLE", "x"], "d"),
         ("ReduceMean", ["d"], "e", {"axes": [1], "keepdims": 0}), ("Tanh", ["e"], "f"),
         ("MatMul", ["f", "HEAD"], "y")],
        (7,), TABLE=TABLE, HEAD=HEAD,
    )  # fmt: skip
    made.graph.input[0].type.tensor_type.elem_type = 7
    return made


def test_a_search_over_words_by_number_puts_in_whole_ones():
    goal = Goal({"credibility": 1}, methods=["occlusion", "random"], metrics=["C1", "C2"])
    ids = np.random.default_rng(1).integers(1, 12, size=(12, 7))
    found = search(lambda x: np.tanh(TABLE[x].mean(axis=1)) @ HEAD, ids, goal, batch_size=64)
    assert found.chosen == "occlusion"


def test_trees_that_can_only_be_run_are_judged():
    from sklearn.ensemble import RandomForestClassifier

    x = RNG.normal(size=(40, 5))
    forest = RandomForestClassifier(8, random_state=0).fit(x, x[:, 0] > 0)
    card = evaluate(forest, x[:6], ["tree_shap"], standard=ASKED, background=x, batch_size=64,
                    masks=np.tile([True, False, False, False, False], (6, 1)))  # fmt: skip
    assert set(card.scores["tree_shap"]) == set(ASKED)
    assert card.summary("tree_shap", "localisation_lift").median > 0.3
    assert card.summary("tree_shap", "subset_correlation").median > 0.5
