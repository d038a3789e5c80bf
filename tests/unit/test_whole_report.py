"""A whole report: what is in it, that it fits, and what it does with odd questions."""

import json
import re

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

import pellucid
from pellucid.demo import demo_photos
from pellucid.errors import CapabilityError, InputError
from pellucid.report import report
from pellucid.testing import build

RNG = np.random.default_rng(0)
TABLE = pandas.DataFrame(RNG.normal(size=(60, 3)), columns=["age", "dose", "height"])
TABLE["town"] = pandas.Categorical(RNG.choice(["Bern", "Oslo"], 60))
LABELS = np.where(3 * TABLE["dose"] + TABLE["age"] > 0, "ill", "well")


def of_numbers(frame):
    return frame[["age", "dose", "height"]]


FOREST = RandomForestClassifier(5, random_state=0).fit(of_numbers(TABLE), LABELS)


def data_in(page: str) -> dict:
    found = re.search(r'id="pellucid-data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found.group(1))


def test_a_table_with_labels_has_all_parts(tmp_path):
    made = report(
        FOREST, of_numbers(TABLE), LABELS, out=tmp_path / "a" / "page.html", examples=6,
        evaluate={"standard": ["I1", "C1", "C4"]},
    )  # fmt: skip
    page = (tmp_path / "a" / "page.html").read_text("utf-8")
    for anchor in ("judged", "board", "tree", "structure", "data", "cost"):
        assert f'id="{anchor}"' in page
        assert f'href="#{anchor}"' in page
    record = data_in(page)
    assert record == json.loads(json.dumps(made.to_dict()))
    assert record["data"]["rows"] == 60
    assert record["data"]["labels"] == [[k, n] for k, n in _counts(LABELS)]
    assert [c["name"] for c in record["data"]["columns"]] == ["age", "dose", "height"]
    assert record["board"]["rows"] == {"given": 60, "looked_at": 60}
    assert {c["name"] for c in record["costs"]} == {
        "structure", "explanations", "scorecard", "tree", "board"
    }  # fmt: skip
    assert record["tree"]["fidelity"]["value"] > 0.5
    assert all(c["evaluations"] > 0 for c in record["costs"])
    assert set(made.scorecard.scores["kernel_shap"]) >= {"effective_fraction", "srg"}
    assert "6 of the 60 samples are explained, drawn by the seed." in record["notes"]
    assert "Made with pellucid" in page


def _counts(labels):
    values, counts = np.unique(labels, return_counts=True)
    return sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda p: -p[1])


def test_the_same_seed_makes_the_same_report():
    options = {"examples": 3, "evaluate": False, "seed": 4}
    first = report(FOREST, of_numbers(TABLE), **options)
    again = report(FOREST, of_numbers(TABLE), **options)
    for a, b in zip(first.study.items, again.study.items, strict=True):
        assert a.name == b.name
        assert np.array_equal(a.answers[0].explanation.values, b.answers[0].explanation.values)
    assert first.data == again.data
    other = report(FOREST, of_numbers(TABLE), **{**options, "seed": 5})
    assert [i.name for i in other.study.items] != [i.name for i in first.study.items]


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras", "jax", "tensorlayer"])
@pytest.mark.parametrize("name", ["cnn", "dense"])
def test_every_framework_has_a_report(name: str, framework: str):
    model, x = build(name, framework)
    made = report(model, x, examples=2, evaluate=False)
    methods = {a.explanation.method for i in made.study.items for a in i.answers}
    wanted = {"expected_gradients", "kernel_shap"}
    if name == "cnn":
        wanted = {"integrated_gradients", "occlusion"}
        # This model of bare TensorFlow has no layers, which a note of the report says.
        wanted |= {"gradcam"} if framework != "tensorflow" else set()
    assert methods == wanted
    assert made.structure is not None
    assert made.structure.flops
    assert "How the model is built" in made.to_html()


def test_fifty_photographs_fit_five_megabytes(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 7, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(), torch.nn.Linear(128, 4),
    )  # fmt: skip
    photos = [np.asarray(Image.open(p.path).convert("RGB")) for p in demo_photos()]
    crops = []
    for i in range(50):
        photo = photos[i % len(photos)]
        top, left = (17 * i) % (photo.shape[0] - 200), (29 * i) % (photo.shape[1] - 200)
        crop = Image.fromarray(photo[top : top + 200, left : left + 200])
        crops.append(np.asarray(crop.resize((224, 224))))
    x = np.stack(crops)
    model = pellucid.wrap(
        network.eval(), preprocess=lambda p: np.moveaxis(p.astype(np.float32) / 255, -1, 1)
    )
    made = report(
        model, x, list(range(4)) * 12 + [0, 1], examples=50, evaluate=False,
        out=tmp_path / "photos.html",
    )  # fmt: skip
    assert len(made.study.items) == 50
    assert made.study.items[0].answers[0].explanation.parts[0].display is not None
    assert (tmp_path / "photos.html").stat().st_size <= 5e6
    with pytest.raises(InputError, match="Ask for fewer examples"):
        made.save(tmp_path / "small.html", budget_megabytes=0.1)
    assert not (tmp_path / "small.html").exists()


def test_a_method_that_fails_is_named_and_the_others_stay():
    network, x = build("dense", "torch")
    made = report(network, x, methods=["gradcam", "saliency"], evaluate=False)
    assert any(note.startswith("gradcam:") for note in made.study.notes)
    assert made.study.items[0].answers[0].explanation.method == "saliency"
    with pytest.raises(CapabilityError, match="None of the methods"):
        report(network, x, methods=["gradcam"], evaluate=False)


def test_the_code_makes_it_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, x = build("cnn", "torch")
    made = report(network, x[:2], methods=[("occlusion", {"window": 4})], evaluate=False, target=1)
    names = {"model": network, "x": x[:2]}
    exec(compile(made.reproduce(), "script", "exec"), names)
    again = names["report"]
    first = made.study.items[0].answers[0].explanation
    assert np.array_equal(first.values, again.study.items[0].answers[0].explanation.values)
    assert np.array_equal(first.values, names["explanation"].values)
    assert (tmp_path / "report.html").exists()


def same_again(made, names):
    """The report and each explanation in it, made by its own code, value for value."""
    exec(compile(made.reproduce(), "script", "exec"), names)
    items, others = made.study.items, names["report"].study.items
    assert [i.name for i in items] == [i.name for i in others]
    for item, other in zip(items, others, strict=True):
        for a, b in zip(item.answers, other.answers, strict=True):
            assert np.array_equal(a.explanation.values[a.sample], b.explanation.values[b.sample])
    # Each `explanation = ` was run; the last is that of the last method, of the samples drawn.
    last = items[0].answers[-1]
    kept = names["explanation"]
    assert kept.method == last.explanation.method
    for item in items:
        a = item.answers[-1]
        assert np.array_equal(a.explanation.values[a.sample], kept.values[a.sample])


@pytest.mark.parametrize("kind", ["frame", "array", "rows"])
def test_the_code_of_a_table_draws_its_rows_and_its_background(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    x = of_numbers(TABLE)
    x = {"frame": x, "array": x.to_numpy(), "rows": x.to_numpy().tolist()}[kind]
    forest = RandomForestClassifier(5, random_state=0).fit(x, LABELS)
    made = report(forest, x, LABELS, examples=5, evaluate=False, seed=3, title="Five rows",
                  board_options={"examples": 0})  # fmt: skip
    assert len({i.answers[0].question for i in made.study.items}) == 2
    same_again(made, {"model": forest, "x": x, "y": LABELS})


def test_the_code_of_pictures_of_several_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    ).eval()
    x = np.random.default_rng(5).normal(size=(20, 1, 8, 8)).astype(np.float32)
    made = report(network, x, examples=6, evaluate=False, methods=["gradcam", "saliency"])
    assert len({i.answers[0].question for i in made.study.items}) > 1
    same_again(made, {"model": network, "x": x})


def test_the_code_of_several_inputs_and_of_a_background_of_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, x = build("two_inputs", "torch")
    made = report(network, x, examples=2, evaluate=False, methods=["saliency"])
    same_again(made, {"model": network, "x": x})
    rows = of_numbers(TABLE)
    made = report(FOREST, rows, examples=3, evaluate=False, methods=[
        "occlusion", ("kernel_shap", {"background": rows[:9], "budget": 200})])  # fmt: skip
    assert "'background': background" in made.reproduce()
    same_again(made, {"model": FOREST, "x": rows, "background": rows[:9]})


def test_an_argument_of_pages_is_named():
    network, x = build("dense", "torch")
    long = [f"sample {i} " + "x" * 900 for i in range(len(x))]
    made = report(network, x, examples=1, evaluate=False, methods=["saliency"], names=long)
    assert "names=names" in made.reproduce()


def test_targets_one_a_sample_go_with_the_samples_drawn():
    network, x = build("cnn", "torch")
    made = report(network, x, target=[0, 1, 2, 0, 1], examples=2, evaluate=False,
                  methods=["saliency"], names=list("abcde"))  # fmt: skip
    wanted = dict(zip("abcde", [0, 1, 2, 0, 1], strict=True))
    for item in made.study.items:
        answer = item.answers[0]
        assert answer.explanation.target[answer.sample] == wanted[item.name]


def test_a_category_is_told_by_its_words():
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    made = report(lambda x: np.asarray(x, float) @ weights[:, None],
                  TABLE.assign(town=TABLE["town"].cat.codes), methods=["occlusion"],
                  evaluate=False, examples=2)  # fmt: skip
    assert made.data.missing == 0
    assert len(made.data.columns) == 4
    assert made.structure is not None
    assert "It can only be run" in " ".join(made.structure.sentences)


def test_wrong_questions_are_refused():
    network, x = build("dense", "torch")
    with pytest.raises(InputError, match="one label for each"):
        report(network, x, [0, 1], evaluate=False)
    with pytest.raises(InputError, match="a name for each"):
        report(network, x, names=["one"], evaluate=False)
    with pytest.raises(InputError, match="examples"):
        report(network, x, examples=0, evaluate=False)
    with pytest.raises(InputError):
        report(network, np.full_like(x, np.nan), evaluate=False)
    with pytest.raises(InputError):
        report(network, x[:0], evaluate=False)


def test_a_notebook_shows_it_in_a_frame_without_scripts():
    network, x = build("dense", "torch")
    made = report(network, x, examples=1, evaluate=False)
    assert made._repr_html_().startswith('<iframe sandbox=""')
    assert str(made).startswith("What this model does, and why: 1 of 5 samples explained by")
