"""DeepSHAP on one Keras layer after the other: those that stop `shap.DeepExplainer`, and the rest.

Measured with Keras 3.15 on TensorFlow 2.21: `shap.DeepExplainer` has no handler for GELU,
LeakyReLU, ReLU6, depthwise and separable convolutions, layer normalisation, transposed and dilated
convolutions, LSTM, GRU, attention and embeddings, and fails its own additivity check on SiLU.
"""

import keras
import numpy as np
import pytest
from keras import layers as L

from pellucid import explain, wrap

DRAWS = np.random.default_rng(0)
PICTURES = {"shape": (8, 8, 3)}
SERIES = {"shape": (8, 4)}
COLUMNS = {"shape": (6,)}


def residual(h):
    return L.Add()([h, L.Conv2D(4, 3, padding="same", activation="relu")(h)])


def joined(h):
    return L.Concatenate()(
        [L.Conv2D(2, 1, activation="relu")(h), L.Conv2D(2, 3, padding="same")(h)]
    )


def attention(h):
    return L.LayerNormalization()(h + L.MultiHeadAttention(2, 4)(h, h))


PASSED_BY_SHAP = {
    "Dense": (COLUMNS, lambda h: L.Dense(5, activation="tanh")(h)),
    "Conv2D": (PICTURES, lambda h: L.Conv2D(4, 3)(h)),
    "Conv1D": (SERIES, lambda h: L.Conv1D(4, 3)(h)),
    "ReLU": (PICTURES, lambda h: L.ReLU()(L.Conv2D(4, 3)(h))),
    "BatchNormalization": (PICTURES, lambda h: L.BatchNormalization()(h)),
    "MaxPooling2D": (PICTURES, lambda h: L.MaxPooling2D()(L.Conv2D(4, 3)(h))),
    "residual Add": (PICTURES, lambda h: residual(L.Conv2D(4, 3, padding="same")(h))),
    "Concatenate": (PICTURES, joined),
    "UpSampling2D": (PICTURES, lambda h: L.UpSampling2D()(h)),
}
FAILED_BY_SHAP = {
    "GELU": (COLUMNS, lambda h: L.Dense(5, activation="gelu")(h)),
    "LeakyReLU": (COLUMNS, lambda h: L.LeakyReLU()(L.Dense(5)(h))),
    "ReLU6": (COLUMNS, lambda h: L.Dense(5, activation="relu6")(h)),
    "SiLU": (COLUMNS, lambda h: L.Dense(5, activation="silu")(h)),
    "DepthwiseConv2D": (PICTURES, lambda h: L.DepthwiseConv2D(3, activation="relu")(h)),
    "SeparableConv2D": (PICTURES, lambda h: L.SeparableConv2D(4, 3, activation="relu")(h)),
    "LayerNormalization": (SERIES, lambda h: L.LayerNormalization()(h)),
    "Conv2DTranspose": (PICTURES, lambda h: L.Conv2DTranspose(4, 3, strides=2)(h)),
    "dilated Conv2D": (PICTURES, lambda h: L.Conv2D(4, 3, dilation_rate=2, activation="relu")(h)),
    "LSTM": (SERIES, lambda h: L.LSTM(4)(h)),
    "GRU": (SERIES, lambda h: L.GRU(4)(h)),
    "MultiHeadAttention": (SERIES, attention),
}
OTHERS = {
    "Bidirectional": (SERIES, lambda h: L.Bidirectional(L.GRU(4))(h)),
    "GroupNormalization": (PICTURES, lambda h: L.GroupNormalization(2)(L.Conv2D(4, 3)(h))),
    "squeeze and excite": (
        SERIES,
        lambda h: h * L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling1D(keepdims=True)(h)),
    ),
    "GlobalMaxPooling2D": (PICTURES, lambda h: L.GlobalMaxPooling2D()(L.Conv2D(4, 3)(h))),
    "Softmax inside": (COLUMNS, lambda h: L.Softmax()(L.Dense(5)(h))),
    "ELU": (COLUMNS, lambda h: L.ELU()(L.Dense(5)(h))),
    "PReLU": (COLUMNS, lambda h: L.PReLU(alpha_initializer="ones")(L.Dense(5)(h))),
    "hard_silu": (COLUMNS, lambda h: L.Dense(5, activation="hard_silu")(h)),
    "softplus": (COLUMNS, lambda h: L.Dense(5, activation="softplus")(h)),
    "mish": (COLUMNS, lambda h: L.Dense(5, activation="mish")(h)),
    "UnitNormalization": (COLUMNS, lambda h: L.UnitNormalization()(L.Dense(5)(h))),
    "Conv3D": ({"shape": (4, 4, 4, 1)}, lambda h: L.Conv3D(3, 2, activation="relu")(h)),
    "TimeDistributed": (SERIES, lambda h: L.TimeDistributed(L.Dense(3, activation="gelu"))(h)),
}
LAYERS = PASSED_BY_SHAP | FAILED_BY_SHAP | OTHERS


def head(h):
    return L.Dense(3)(L.Dense(7, activation="relu")(L.Flatten()(h)))


@pytest.mark.parametrize("name", list(LAYERS))
def test_deep_shap_adds_up_on(name):
    keras.utils.set_random_seed(3)
    given, layer = LAYERS[name]
    start = keras.Input(**given)
    model = wrap(keras.Model(start, head(layer(start))))
    x = DRAWS.normal(size=(3, *given["shape"])).astype(np.float32)
    background = DRAWS.normal(size=(4, *given["shape"])).astype(np.float32)
    e = explain(model, x, "deep_shap", background=background)
    assert e.gap.max() < 1e-4
    assert e.stderr is not None
    assert model.coverage("deep_shap", x).complete


@pytest.mark.parametrize("method", ["deep_shap", "deeplift"])
def test_an_embedding_is_explained_at_what_it_returns(method):
    """Words have no differences; SHAP's DeepExplainer is given None for a gradient here."""
    keras.utils.set_random_seed(3)
    start = keras.Input((7,), dtype="int32")
    h = L.Embedding(20, 5, name="words")(start)
    model = wrap(keras.Model(start, head(L.Conv1D(4, 3, activation="gelu")(h))))
    x, other = (DRAWS.integers(0, 20, size=(3, 7)).astype(np.int32) for _ in range(2))
    options = {"background": other} if method == "deep_shap" else {"baseline": other}
    e = explain(model, x, method, layer="words", **options)
    assert e.values.shape == (3, 7, 5)
    assert e.gap.max() < 1e-4
    before = model.predict(other)
    before = (
        before.mean(axis=0)[e.prediction]
        if method == "deep_shap"
        else before[np.arange(3), e.prediction]
    )
    np.testing.assert_allclose(e.baseline_score, before, rtol=1e-5, atol=1e-6)


def test_an_embedding_in_torch():
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Embedding(20, 5), torch.nn.LSTM(5, 4, batch_first=True))

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.rnn = net
            self.head = torch.nn.Linear(4, 3)

        def forward(self, tokens):
            return self.head(self.rnn(self.words(tokens))[0][:, -1])

    x, other = (DRAWS.integers(0, 20, size=(3, 7)) for _ in range(2))
    for method, options in (
        ("deep_shap", {"background": other}),
        ("deeplift", {"baseline": other}),
    ):
        e = explain(Model().eval(), torch.from_numpy(x), method, layer="words", **options)
        assert e.values.shape == (3, 7, 5)
        assert e.gap.max() < 1e-4
