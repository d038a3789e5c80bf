"""Embeddings: PCA against scikit-learn's, neighbours by hand, the frameworks against each other."""

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

import pellucid
from pellucid import plots
from pellucid.errors import InputError, LayerError, MissingExtraError
from pellucid.inside import embed_vectors, embedding
from pellucid.methods.inside import projections
from pellucid.testing import build
from pellucid.testing.spy import SpyAdapter

DIGITS, CLASSES = load_digits(return_X_y=True)
rng = np.random.default_rng(5)

FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer")
"""Those whose tiny model shows layers; TensorFlow's is a function."""


def of_sklearn(vectors, components):
    """Peer coordinates with the sign rule applied: the largest entry of a direction is positive."""
    peer = PCA(components, svd_solver="full").fit(vectors.astype(np.float64))
    largest = np.abs(peer.components_).argmax(axis=1)
    signs = np.sign(peer.components_[np.arange(components), largest])
    return peer.transform(vectors.astype(np.float64)) * signs, peer.explained_variance_ratio_


@pytest.mark.parametrize("dense", [2048, 3], ids=["whole", "by products"])
@pytest.mark.parametrize("shape", [(40, 7), (9, 30), (30, 50)])
def test_pca_is_scikit_learns_with_its_sign_fixed(shape, dense, monkeypatch):
    monkeypatch.setattr(projections, "_DENSE", dense)
    vectors = rng.normal(size=shape) * np.linspace(3, 1, shape[1]) + 5
    expected, shares = of_sklearn(vectors, 3)
    found = embed_vectors(vectors, components=3)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.coordinates, expected, atol=1e-6 * scale)
    np.testing.assert_allclose(found.said["explained_variance"], shares, rtol=1e-6)
    again = embed_vectors(vectors, components=3)
    assert np.array_equal(found.coordinates, again.coordinates)
    turned = embed_vectors(-vectors, components=3)
    np.testing.assert_allclose(turned.coordinates, -expected, atol=1e-6 * scale)


def test_vectors_without_variance_and_of_one_direction():
    same = embed_vectors(np.ones((5, 4)))
    assert np.array_equal(same.coordinates, np.zeros((5, 2)))
    assert same.said["explained_variance"] == [0.0, 0.0]
    line = embed_vectors(np.arange(5.0)[:, None])
    np.testing.assert_allclose(line.coordinates, [[-2, 0], [-1, 0], [0, 0], [1, 0], [2, 0]])


def test_the_frameworks_agree():
    expected = None
    for framework in FRAMEWORKS:
        model, x = build("cnn", framework)
        found = embedding(model, x, "conv2", seed=3)
        assert "channels" in found.pooled
        assert found.coordinates.shape == (5, 2)
        if expected is None:
            expected = found
        np.testing.assert_allclose(found.coordinates, expected.coordinates, atol=1e-5)
        np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-5)
        again = embedding(model, x, "conv2", seed=3, batch_size=5)
        assert np.array_equal(
            again.coordinates, embedding(model, x, "conv2", seed=3, batch_size=5).coordinates
        )


def test_what_a_layer_returned_is_pooled_as_said():
    model, x = build("cnn", "torch")
    with torch.no_grad():
        kept = []
        handle = model.conv2.register_forward_hook(
            lambda m, a, out: kept.append(out.numpy().copy())
        )
        model(torch.from_numpy(x))
        handle.remove()
    (maps,) = kept
    for pooling, expected in (
        ("mean", maps.mean(axis=(2, 3))),
        ("max", maps.max(axis=(2, 3))),
        ("flatten", maps.reshape(5, -1)),
    ):
        found = embedding(model, x, "conv2", pooling=pooling)
        np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    assert found.pooled == "all 8 × 6 × 5 values"
    second = embedding(model, x, "relu#2").vectors
    np.testing.assert_allclose(second, np.maximum(maps, 0).mean(axis=(2, 3)), atol=1e-6)


def test_words_for_what_is_not_inside_and_the_layer_chosen():
    model, x = build("dense_softmax", "torch")
    assert embedding(model, x).layer == "relu#2"
    np.testing.assert_allclose(embedding(model, x, "input").vectors, x)
    logits = embedding(model, x, "output").vectors
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
                               model(torch.from_numpy(x)).detach().numpy(), rtol=1e-5)  # fmt: skip
    assert embedding(lambda a: a @ np.ones((6, 2)), x).layer == "input"
    vit, pictures = build("vit", "torch")
    assert "over 13 positions of 8 channels" in embedding(vit, pictures, "norm").pooled
    two, pair = build("two_inputs", "torch")
    assert embedding(two, pair).vectors.shape == (5, 8)
    series = torch.nn.Sequential(
        torch.nn.Conv1d(2, 4, 3), torch.nn.Flatten(), torch.nn.Linear(32, 2)
    )
    found = embedding(series, rng.normal(size=(6, 2, 10)).astype(np.float32), "0")
    assert found.pooled == "mean over 8 positions of 4 channels"


def test_neighbours_are_those_of_the_layers_own_space():
    found = embed_vectors(DIGITS, labels=CLASSES, at_most=200, seed=4)
    assert found.sampled
    assert "200 samples of 1797, drawn with seed 4" in str(found)
    drawn = np.sort(np.random.default_rng([4, 60]).permutation(1797)[:200])
    assert np.array_equal(found.rows, drawn)
    row = int(drawn[17])
    near = found.neighbours(row, k=6)
    peer = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(DIGITS[drawn])
    distances, places = peer.kneighbors(DIGITS[[row]])
    assert near.rows == tuple(drawn[places[0, 1:]])
    np.testing.assert_allclose(near.distances, distances[0, 1:], rtol=1e-6)
    assert near.labels == tuple(str(c) for c in CLASSES[drawn[places[0, 1:]]])
    assert str(row) in str(near)
    assert near.to_dict()["rows"] == list(near.rows)
    with pytest.raises(InputError, match="that were drawn"):
        found.neighbours(int(np.setdiff1d(np.arange(1797), drawn)[0]))
    with pytest.raises(InputError, match="1 or more"):
        found.neighbours(row, k=0)
    assert len(found.neighbours(row, k=10_000).rows) == 199


def test_tsne_is_seeded_and_keeps_neighbours():
    vectors, labels = DIGITS[:150], CLASSES[:150]
    found = embed_vectors(vectors, how="tsne", labels=labels, seed=1, max_iter=300)
    again = embed_vectors(vectors, how="tsne", labels=labels, seed=1, max_iter=300)
    assert np.array_equal(found.coordinates, again.coordinates)
    assert found.said["first"].startswith("50 principal components")
    near = NearestNeighbors(n_neighbors=2).fit(found.coordinates).kneighbors()[1][:, 0]
    assert (labels[near] == labels).mean() > 0.8
    with pytest.raises(InputError, match="refuses"):
        embed_vectors(vectors, how="tsne", perplexity=1000)
    with pytest.raises(InputError, match="does not take these options"):
        embed_vectors(vectors, how="tsne", perplexitie=3)
    with pytest.raises(InputError, match="is not an option"):
        embed_vectors(vectors, how="tsne", random_state=3)


def test_what_is_absent_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pellucid\[umap\]'"):
        embed_vectors(DIGITS[:20], how="umap")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[sklearn\]"):
        embed_vectors(DIGITS[:20], how="tsne")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numba's and umap's own
def test_umap_keeps_neighbours():
    pytest.importorskip("umap", reason="umap-learn, of the extras umap and test, is not installed")
    found = embed_vectors(DIGITS[:300], how="umap", seed=1)
    again = embed_vectors(DIGITS[:300], how="umap", seed=1)
    assert np.array_equal(found.coordinates, again.coordinates)
    near = NearestNeighbors(n_neighbors=2).fit(found.coordinates).kneighbors()[1][:, 0]
    assert (CLASSES[:300][near] == CLASSES[:300]).mean() > 0.8
    assert embed_vectors(DIGITS[:60], how="umap", components=3).coordinates.shape == (60, 3)
    assert embed_vectors(DIGITS[:3], how="umap").coordinates.shape == (3, 2)
    with pytest.raises(InputError, match="refuses"):
        embed_vectors(DIGITS[:20], how="umap", n_neighbors=1)
    with pytest.raises(InputError, match="does not take these options"):
        embed_vectors(DIGITS[:20], how="umap", neighbours=3)


def test_labels_by_number_and_name_tell_what_is_right():
    model, x = build("dense", "torch")
    guesses = model(torch.from_numpy(x)).argmax(dim=1).numpy()
    truth = guesses.copy()
    truth[2] = (truth[2] + 1) % 3
    names = np.array(["bird", "cat", "dog"])
    wrapped = pellucid.wrap(model, class_names=names.tolist())
    for labels in (truth, names[truth], truth.tolist(), truth.astype(float)):
        found = embedding(wrapped, x, labels=labels)
        assert found.correct.tolist() == [True, True, False, True, True]
        assert found.labels.tolist() == names[truth].tolist()
        assert found.predicted.tolist() == names[guesses].tolist()
    assert "80.0% right" in str(found)
    assert embedding(model, x, labels=[0.5, 1, 2, 3, 4]).correct is None
    binary, rows = build("sigmoid", "torch")
    said = binary(torch.from_numpy(rows)).detach().numpy()[:, 0] > 0.5
    assert embedding(binary, rows, labels=said).correct.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0, 1]}, "one value for each of the 5 rows"),
        ({"labels": [0, 1, np.nan, 0, 1]}, r"NaN or infinity in the rows \[2\]"),
        ({"labels": [0, 1, 9, 0, 1]}, "has 3 classes"),
        ({"labels": ["bird", "cat", "elk", "cat", "dog"]}, "'elk' is none"),
        ({"names": ["a"]}, "Expected names"),
        ({"columns": {"age": [1]}}, "Expected age"),
        ({"how": "lda"}, "one of"),
        ({"components": 4}, "2 or 3"),
        ({"pooling": "sum"}, "one of"),
        ({"at_most": 2}, "3 or more"),
        ({"seed": -1}, "seed"),
        ({"perplexity": 3}, "takes no option"),
    ],
)
def test_what_is_refused(options, message):
    model, x = build("dense", "torch")
    wrapped = pellucid.wrap(model, class_names=["bird", "cat", "dog"])
    with pytest.raises(InputError, match=message):
        embedding(wrapped, x, **options)


def test_other_refusals():
    model, x = build("dense", "torch")
    with pytest.raises(LayerError, match="head"):
        embedding(model, x, "heads")
    with pytest.raises(InputError, match="3 samples or more"):
        embedding(model, x[:2])
    broken = x.copy()
    broken[1] = np.nan
    with pytest.raises(InputError):
        embedding(model, broken)
    with pytest.raises(InputError, match=r"rows \[1\]"):
        embed_vectors(broken)
    with pytest.raises(InputError, match="shape"):
        embed_vectors(np.zeros(3))


def test_columns_of_a_table_are_there_by_name():
    table = pandas.DataFrame(rng.normal(size=(30, 2)), columns=["age", "dose"])
    model = LogisticRegression().fit(table, table["dose"] > 0)
    found = embedding(model, table, labels=table["dose"] > 0, columns={"ward": ["a", "b"] * 15})
    np.testing.assert_allclose(found.columns["dose"], table["dose"])
    assert found.columns["ward"][:2].tolist() == ["a", "b"]
    for colour in ("dose", "ward", "correct", "class", None, np.arange(30)):
        plots.embedding(found, colour=colour)
    with pytest.raises(InputError, match="'age'"):
        plots.embedding(found, colour="agee")


def test_nothing_of_the_model_changes_and_every_run_counts():
    model, x = build("cnn", "torch")
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.random.get_rng_state()
    wrapped = pellucid.wrap(model)
    spy = SpyAdapter(wrapped.adapter)
    found = embedding(replace(wrapped, adapter=spy), x)
    assert tuple(found.evaluations) == tuple(spy.counts)
    with pytest.raises(LayerError):
        embedding(model, x, "none such")
    assert model.training
    assert not model.conv2._forward_hooks
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_pictures_words_and_neighbours_are_drawn():
    wide, labels = np.repeat(DIGITS[:60].reshape(-1, 8, 8, 1), 3, axis=3), CLASSES[:60]
    found = embedding(lambda x: x.reshape(len(x), -1)[:, :4], wide / 16, labels=labels % 4)
    assert found.pictures.shape == (60, 8, 8, 3)
    assert found.pictures.max() == 255
    axes = plots.embedding(found, pictures=10)
    shown = [a for a in axes.get_children() if type(a).__name__ == "AnnotationBbox"]
    assert 3 < len(shown) <= 10
    figure = found.plot_neighbours(3, k=4)
    assert len(figure.axes) == 5
    own = figure.axes[2]
    assert plots.embedding(found, ax=own) is own
    words = embed_vectors(rng.normal(size=(40, 6)), names=[f"word{i} $x$" for i in range(40)])
    axes = words.plot(names=True, max_names=7)
    assert 3 < sum("word" in t.get_text() for t in axes.texts) <= 7
    by_number = plots.embedding(words, names={3: "three", 99: "absent"})
    assert [t.get_text() for t in by_number.texts] == ["three"]
    assert words.neighbours(3, 1).labels[0].startswith("word")
    with pytest.raises(InputError, match="these have none"):
        words.plot(pictures=True)
    with pytest.raises(InputError, match="have none"):
        words.plot_neighbours(0)
    with pytest.raises(InputError, match="a name for each"):
        words.plot(names=["a"])
    with pytest.raises(InputError, match="labels="):
        words.plot(colour="correct")


def test_many_classes_have_colours_signs_and_a_rest():
    found = embed_vectors(rng.normal(size=(200, 4)), labels=[f"c{i % 30:02}" for i in range(200)])
    axes = found.plot(theme="dark")
    names = [t.get_text() for t in axes.get_legend().get_texts()]
    assert len(names) == 21
    assert names[-1] == "10 others"


def test_the_html_is_inert():
    hostile = ['<script>alert("x")</script>', '"><img src=x onerror=alert(1)>', "a & b'"] * 4
    found = embed_vectors(rng.normal(size=(12, 3)), labels=hostile, names=hostile)
    for options in ({}, {"colour": np.arange(12.0)}, {"at_most": 5}, {"colour": None}):
        html = found.to_html(**options)
        for bad in ("<script", "<img", 'onerror=alert(1)>"'):
            assert bad not in html
        tree = ElementTree.fromstring(html)  # well formed, so nothing broke out of its place
        titles = [t.text for t in tree.iter() if t.tag.endswith("title")]
        assert any('<script>alert("x")</script>' in t for t in titles)
        assert not [a for e in tree.iter() for a in e.attrib if a.startswith("on")]
    assert "5 of the points" in found.to_html(at_most=5)
    assert found._repr_html_() == found.to_html()
    assert found.to_dict()["labels"][0] == hostile[0]


def test_labels_that_are_no_classes_tell_no_right_and_wrong():
    model, x = build("cnn", "torch")
    count = len(x)
    for labels, words in ((np.arange(count) + 90, "none of the labels, 90 to"),
                          (["cat"] * count, "the model has no class names")):  # fmt: skip
        found = pellucid.inside.embedding(model, x, labels=labels)
        assert found.correct is None
        assert found.accuracy is None
        assert words in found.note
        assert found.note in str(found)
        with pytest.raises(InputError, match=words):
            found.plot(colour="correct")
    labels = np.zeros(count, int)
    assert pellucid.inside.embedding(model, x, labels=labels).note == ""
    labels[1] = 90
    found = pellucid.inside.embedding(model, x, labels=labels)
    assert not found.correct[1]
    assert "1 labels are none" in found.note


def test_an_input_with_missing_values_is_refused_with_what_to_do():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = x[:, 0] > 0
    x[3, 1] = np.nan
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(x, y)
    with pytest.raises(InputError, match=r"rows \[3\].*\n  Fill in what is missing"):
        pellucid.inside.embedding(model, x)
    assert pellucid.inside.embedding(model, x, "output").vectors.shape[0] == 20
    assert len(pellucid.inside.embed_vectors(model[:-1].transform(x)).coordinates) == 20
