"""The board: its numbers against scikit-learn's, its slices against planted ones, its refusals."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import scipy.stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pellucid
from pellucid.board.columns import Column, columns_given, cut
from pellucid.board.curves import curves_of
from pellucid.board.performance import classification, regression
from pellucid.board.scores import of_confusion
from pellucid.board.slices import find_slices
from pellucid.errors import CapabilityError, InputError
from pellucid.plots.performance import (
    class_balance,
    histogram,
    most_confused,
    precision_recall,
    roc,
)
from pellucid.reports.board import board_view
from pellucid.reports.page import write_page
from pellucid.shares import wilson

ADULT = Path(__file__).parents[1] / "data" / "adult" / "adult-480.csv"


def answers(classes: int, count: int = 400, seed: int = 0, ties: bool = False):
    """Labels and probabilities that go with them, some equal to each other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if ties:
        p = np.round(p, 1) + 1e-9
        p /= p.sum(axis=1, keepdims=True)
    return labels, p


def value(found, name: str) -> float:
    return {s.name: s.value for s in found.scores}[name]


@pytest.mark.parametrize("ties", [False, True])
def test_scores_of_two_classes_are_those_of_scikit_learn(ties):
    labels, p = answers(2, ties=ties)
    said = p.argmax(axis=1)
    found = classification(labels, said, p, ["no", "yes"], seed=0)
    expected = {
        "accuracy": metrics.accuracy_score(labels, said),
        "balanced accuracy": metrics.balanced_accuracy_score(labels, said),
        "F1 of yes": metrics.f1_score(labels, said),
        "log loss": metrics.log_loss(labels, p),
        "AUC of yes": metrics.roc_auc_score(labels, p[:, 1]),
        "average precision of yes": metrics.average_precision_score(labels, p[:, 1]),
    }
    for name, number in expected.items():
        assert value(found, name) == pytest.approx(number, rel=1e-6), name
    assert (found.confusion == metrics.confusion_matrix(labels, said)).all()
    observed, stated = calibration_curve(labels, p[:, 1], n_bins=15, strategy="uniform")
    some = found.calibration.counts > 0
    assert found.calibration.observed[some] == pytest.approx(observed)
    assert found.calibration.stated[some] == pytest.approx(stated)
    weights = found.calibration.counts[some] / len(labels)
    assert value(found, "expected calibration error") == pytest.approx(
        weights @ np.abs(observed - stated)
    )


def test_scores_of_several_classes_are_those_of_scikit_learn():
    labels, p = answers(4)
    said = p.argmax(axis=1)
    found = classification(labels, said, p, list("abcd"), seed=0)
    expected = {
        "balanced accuracy": metrics.balanced_accuracy_score(labels, said),
        "F1, mean of classes": metrics.f1_score(labels, said, average="macro"),
        "log loss": metrics.log_loss(labels, p),
        "mean AUC": metrics.roc_auc_score(labels, p, multi_class="ovr"),
        "AUC, all decisions as one": metrics.roc_auc_score(np.eye(4)[labels], p, average="micro"),
    }
    for name, number in expected.items():
        assert value(found, name) == pytest.approx(number, rel=1e-6), name
    recalls = metrics.recall_score(labels, said, average=None)
    precisions = metrics.precision_score(labels, said, average=None)
    assert [r.value for *_, r, _ in found.by_class] == pytest.approx(recalls)
    assert [p.value for *_, p in found.by_class] == pytest.approx(precisions)


@pytest.mark.parametrize("ties", [False, True])
def test_curves_go_through_scikit_learns_points(ties):
    labels, p = answers(2, count=120, ties=ties)
    (curve,) = curves_of(labels, p, ["no", "yes"], seed=0).drawn
    false, true, _ = metrics.roc_curve(labels, p[:, 1], drop_intermediate=False)
    assert curve.false_positive_rate == pytest.approx(false)
    assert curve.true_positive_rate == pytest.approx(true)
    precision, recall, _ = metrics.precision_recall_curve(labels, p[:, 1])
    points = set(zip(np.round(recall, 9), np.round(precision, 9), strict=True))
    own = set(zip(np.round(curve.recall[1:], 9), np.round(curve.precision[1:], 9), strict=True))
    assert own <= points | {(0.0, 1.0)}


def test_scores_of_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.normal(3, 2, 500)
    said = labels + rng.normal(0.2, 1, 500)
    found = regression(labels, said, seed=0)
    assert value(found, "R²") == pytest.approx(metrics.r2_score(labels, said))
    assert value(found, "mean absolute error") == pytest.approx(
        metrics.mean_absolute_error(labels, said)
    )
    assert value(found, "root mean squared error") == pytest.approx(
        metrics.root_mean_squared_error(labels, said)
    )
    assert found.histogram[1].sum() == 500


def test_wilsons_interval_is_scipys():
    for hits, count in ((0, 10), (3, 10), (97, 100), (10, 10)):
        low, high = wilson(hits, count)
        known = scipy.stats.binomtest(hits, count).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((known.low, known.high), abs=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = {"AUC": 0, "F1": 0}
    labels, p = answers(2, count=60_000, seed=9)
    truth = metrics.roc_auc_score(labels, p[:, 1]), metrics.f1_score(labels, p.argmax(1))
    for run in range(60):
        own = slice(run * 250, (run + 1) * 250)
        found = classification(labels[own], p[own].argmax(1), p[own], ["a", "b"], seed=run)
        told = {s.name: s for s in found.scores}
        held["AUC"] += told["AUC of b"].low <= truth[0] <= told["AUC of b"].high
        held["F1"] += told["F1 of b"].low <= truth[1] <= told["F1 of b"].high
    # Of 60 at 95 %: fewer than 51 has a probability below 1e-3.
    assert min(held.values()) >= 51


def test_a_resampled_confusion_is_the_same_for_the_same_seed():
    matrix = np.array([[30, 5], [7, 58]])
    first, second = (of_confusion(matrix, lambda m: m[0, 0] / m.sum(), 3) for _ in range(2))
    assert first == second
    assert first != of_confusion(matrix, lambda m: m[0, 0] / m.sum(), 4)


def test_the_classes_most_often_confused_are_drawn():
    matrix = np.eye(30, dtype=int) * 10
    matrix[4, 9], matrix[20, 21], matrix[9, 4] = 8, 7, 6
    assert most_confused(matrix, 4).tolist() == [4, 9, 20, 21]


def table(count: int, seed: int = 0) -> list[Column]:
    rng = np.random.default_rng(seed)
    numbers = [Column(f"n{i}", rng.normal(size=count)) for i in range(6)]
    words = [Column(f"w{i}", rng.integers(0, 4, count).astype(float), tuple("abcd"))
             for i in range(3)]  # fmt: skip
    return numbers + words


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_planted_slice_of_two_conditions_is_found_exactly_and_alone(kind):
    columns, rng = table(8000), np.random.default_rng(5)
    codes, titles = cut(columns[2])
    inside = (codes == 3) & (columns[7].values == 1)
    if kind == "classes":
        errors = (rng.random(8000) < np.where(inside, 0.3, 0.05)).astype(float)
    else:
        errors = np.abs(rng.normal(size=8000)) * np.where(inside, 2, 1)
    (found,) = find_slices(columns, errors)
    assert found.conditions == (titles[3], "w1 = b")
    assert (found.rows == np.flatnonzero(inside)).all()
    assert found.error == pytest.approx(errors[inside].mean())
    assert found.rest == pytest.approx(errors[~inside].mean())
    assert found.p < 1e-6


def test_two_planted_slices_are_both_found_and_nothing_else():
    columns, rng = table(8000), np.random.default_rng(6)
    one, two = columns[6].values == 2, columns[8].values == 0
    errors = (rng.random(8000) < np.where(one, 0.25, np.where(two, 0.15, 0.05))).astype(float)
    found = find_slices(columns, errors)
    assert {s.conditions for s in found} == {("w0 = c",), ("w2 = a",)}


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_random_errors_have_no_slice_as_often_as_alpha_says(kind):
    columns, wrong = table(1500), 0
    for run in range(60):
        rng = np.random.default_rng([7, run])
        uniform = rng.random(1500)
        errors = (uniform < 0.1).astype(float) if kind == "classes" else uniform**3
        wrong += bool(len(find_slices(columns, errors, alpha=0.05)))
    # 60 × 0.05 = 3 at most on average; more than 8 has a probability below 0.005.
    assert wrong <= 8


def test_the_rank_sum_is_scipys():
    rng = np.random.default_rng(0)
    column = Column("w", rng.integers(0, 2, 300).astype(float), ("a", "b"))
    errors = np.round(rng.exponential(size=300) * np.where(column.values == 1, 1.6, 1), 1)
    (found,) = find_slices([column], errors)
    inside = column.values == 1
    known = scipy.stats.mannwhitneyu(
        errors[inside], errors[~inside], alternative="greater", method="asymptotic"
    )
    assert found.p == pytest.approx(2 * known.pvalue, rel=1e-6)  # both words were asked about


def test_the_exact_test_is_scipys():
    rng = np.random.default_rng(0)
    column = Column("w", rng.integers(0, 2, 300).astype(float), ("a", "b"))
    errors = (rng.random(300) < np.where(column.values == 1, 0.3, 0.1)).astype(float)
    (found,) = find_slices([column], errors)
    inside = column.values == 1
    counts = [[errors[r].sum(), (1 - errors[r]).sum()] for r in (inside, ~inside)]
    known = scipy.stats.fisher_exact(counts, alternative="greater")
    assert found.p == pytest.approx(2 * known.pvalue, rel=1e-6)


def test_what_is_missing_is_a_piece_of_its_own():
    codes, titles = cut(Column("age", np.array([1.0, 2, np.nan, 2])))
    assert titles == ["age = 1", "age = 2", "age is missing"]
    assert codes.tolist() == [0, 1, 2, 1]


def adult():
    frame = pandas.read_csv(ADULT).drop(columns="fnlwgt")
    labels = frame.pop("income")
    numbers = list(frame.select_dtypes("number").columns)
    words = [c for c in frame.columns if c not in numbers]
    encode = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words)
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=1000))
    return model.fit(frame[:240], labels[:240]), frame[240:], labels[240:]


@pytest.fixture(scope="module")
def of_adult():
    model, frame, labels = adult()
    return pellucid.board(model, frame, labels, examples=2, title="Adult")


def test_a_board_of_a_data_frame_holds_all_parts(of_adult):
    model, frame, labels = adult()
    assert of_adult.score("accuracy").value == pytest.approx(model.score(frame, labels))
    assert of_adult.class_names == ("<=50K", ">50K")
    assert [d.name for d in of_adult.inputs] == list(frame.columns)
    assert sum(of_adult.label_counts) == len(frame)
    assert of_adult.importance.rows[0][1] > 0
    groups = {g.title: g.examples for g in of_adult.examples}
    assert all(e.label != e.predicted for e in groups["Surely wrong"])
    assert all(e.label == e.predicted for e in groups["Surely right"])
    for example in (e for g in groups.values() for e in g):
        said = model.predict_proba(frame.iloc[[example.row]])[0].max()
        assert example.sure == pytest.approx(said)
        given = of_adult.explanation.parts[0].inputs[example.place]
        assert given[0] == frame["age"].iloc[example.row]
    assert of_adult.evaluations == sum(s.evaluations for s in of_adult.stages) > len(frame)


def test_the_same_seed_gives_the_same_board():
    model, frame, labels = adult()
    boards = [pellucid.board(model, frame, labels, examples=1, batch_size=4096) for _ in range(2)]
    first, second = ({k: v for k, v in b.to_dict().items() if k not in {"stages", "model"}}
                     for b in boards)  # fmt: skip
    assert first == second


def test_numbers_go_to_json_and_words_to_str(of_adult):
    told = json.loads(json.dumps(of_adult.to_dict(), allow_nan=False))
    assert told["format"] == "pellucid-board/1"
    assert told["rows"] == {"given": 240, "looked_at": 240}
    assert {s["name"] for s in told["scores"]} >= {"accuracy", "AUC of >50K"}
    assert "accuracy" in str(of_adult)
    with pytest.raises(KeyError, match="balanced accuracy"):
        of_adult.score("accurasy")


def test_a_sample_is_said(of_adult):
    model, frame, labels = adult()
    found = pellucid.board(model, frame, labels, sample=150, examples=0)
    assert (found.rows, found.count) == (150, 240)
    assert "sampled from 240" in str(found)
    assert found.examples == ()
    assert "150 rows drawn from 240" in found.to_html()


def test_time_that_does_not_do_draws_a_sample():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    model = pellucid.wrap(lambda a: 1 / (1 + np.exp(-a[:, 0])), output="probability")
    found = pellucid.board(model, x, (x[:, 0] > 0).astype(int), max_seconds=1e-4, examples=0)
    assert found.rows == 200
    assert pellucid.board(model, x, (x[:, 0] > 0).astype(int), examples=0).rows == 4000


def test_a_board_of_numbers():
    rng = np.random.default_rng(1)
    x = pandas.DataFrame(rng.normal(size=(400, 3)), columns=["a", "b", "c"])
    inside = x["b"] > x["b"].quantile(0.8, interpolation="lower")
    y = 3 * x["a"] + rng.normal(size=400) * np.where(inside, 3, 0.3)
    found = pellucid.board(lambda t: 3 * t["a"].to_numpy(), x, y, examples=2)
    assert found.task == "regression"
    assert found.importance.rows[0][0] == "a"
    assert found.importance.statistic == "absolute error gained"
    assert [s.conditions for s in found.slices] == [(f"b > {x['b'][~inside].max():.6g}",)]
    assert {g.title for g in found.examples} == {"Most underestimated", "Most overestimated",
                                                 "Closest"}  # fmt: skip
    assert "R²" in found.to_html()
    assert len(found.plot().axes) == 2


def test_known_slices_of_pictures_are_searched():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(600, 6, 6, 1)).astype(np.float32)
    site = rng.integers(0, 3, 600)
    labels = (x[:, :3].mean(axis=(1, 2, 3)) > x[:, 3:].mean(axis=(1, 2, 3))).astype(int)
    flipped = np.where((site == 1) & (rng.random(600) < 0.5), 1 - labels, labels)
    upper = np.concatenate([np.ones((3, 6, 1)), -np.ones((3, 6, 1))]).astype(np.float32)

    def model(a):
        score = 3 * (a * upper).mean(axis=(1, 2, 3))
        return np.stack([-score, score], axis=1)

    given = {"site": np.array(["north", "south", "west"])[site]}
    found = pellucid.board(model, x, flipped, slices=given, examples=1)
    assert [s.conditions for s in found.slices] == [("site = south",)]
    assert found.importance is None
    assert any("softmax" in n for n in found.notes)
    assert any(n.startswith("No importance") for n in found.notes)
    assert [d.name for d in found.inputs] == ["brightness", "contrast", "site"]
    assert found.explanation.method == "occlusion"
    assert found.to_html().count("data:image") > 8


def test_each_example_has_a_scale_of_its_own():
    """One picture a thousand times brighter than the others leaves their maps their colours."""
    x = np.random.default_rng(0).uniform(size=(40, 6, 6, 1)).astype(np.float32)
    x[0] *= 1000
    found = pellucid.board(
        lambda a: np.stack([-a.sum(axis=(1, 2, 3)), a.sum(axis=(1, 2, 3))], axis=1), x,
        np.zeros(40, int), method="occlusion", examples=2,
    )  # fmt: skip
    view = board_view(found)
    full = {e.title: e.scale for g in view.groups for e in g.examples if e.card}
    assert len(full) > 1
    assert len(set(full.values())) == len(full)
    page = found.to_html()
    assert all(said.startswith("full colour ") and said in page for said in full.values())
    assert "a scale of its own" in page


def test_no_two_of_ten_curves_look_alike_and_legends_leave_the_data():
    labels, p = answers(10)
    made = classification(labels, p.argmax(axis=1), p, [f"c{i}" for i in range(10)], seed=0)
    for draw in (roc, precision_recall):
        lines = draw(made.curves).get_lines()
        named = [line for line in lines if not str(line.get_label()).startswith("_")]
        assert len(named) == 11
        assert len({(ln.get_color(), str(ln._dash_pattern)) for ln in named}) == 11
        axes = named[0].axes
        axes.figure.draw_without_rendering()
        assert axes.get_legend().get_window_extent().y1 < axes.xaxis.label.get_window_extent().y0
    edges, right, wrong = made.confidence
    counts = np.bincount(labels, minlength=10)
    names = [f"c{i}" for i in range(10)]
    for axes in (
        histogram(edges, [right, wrong], names=("right", "wrong"), title="Confidence"),
        class_balance(names, counts, counts),
    ):
        axes.figure.canvas.draw()
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1


def test_a_confusion_of_ten_classes_has_the_width_of_the_page():
    labels, p = answers(10)
    rows = np.arange(len(p), dtype=float)[:, None]
    found = pellucid.board(
        lambda t: p[t[:, 0].astype(int)], rows, labels, examples=0,
        class_names=[f"c{i}" for i in range(10)],
    )  # fmt: skip
    page = found.to_html()
    assert page.count('class="wide"') == 1
    assert "img.wide { grid-column: 1 / -1" in page
    assert found.plot().axes[0].get_title(loc="left") == "Confusion"


def test_errors_along_a_column_have_an_axis_of_their_own(of_adult):
    from pellucid.plots.board import distributions

    drawn = of_adult.inputs[:2]
    figure = distributions(drawn, error="share of wrong rows")
    figure.canvas.draw()
    counts, errors = figure.axes[0], figure.axes[len(figure.axes) // 2]
    assert any("right axis: share of wrong rows" in t.get_text() for t in figure.texts)
    assert counts.get_ylim()[1] > 1.5 * errors.get_ylim()[1]
    assert len(errors.get_yticks()) > 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(5), "one label for each of 240 rows"),
        (np.eye(2)[np.zeros(240, int)], "argmax"),
        (np.r_[np.nan, np.ones(239)], r"missing .* \[0\]"),
        ([None] + [">50K"] * 239, "missing"),
        (["<=50k"] * 240, "Nearest: '<=50K'"),
        (np.full(240, 7), "from 0 to 1"),
        (np.linspace(0, 1, 240), "class numbers or names"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    model, frame, _ = adult()
    with pytest.raises(InputError, match=message):
        pellucid.board(model, frame, labels)


def test_words_for_a_model_of_numbers_are_refused():
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(InputError, match="class_names"):
        pellucid.board(lambda a: 9 * a[:, 0], x, ["yes", "no"] * 25)


def test_class_names_given_to_the_board_make_words_labels():
    x = np.random.default_rng(0).normal(size=(120, 2))
    labels = np.where(x[:, 0] > 0, "yes", "no")
    found = pellucid.board(lambda a: 9 * a[:, 0], x, labels, class_names=["no", "yes"], examples=1)
    assert found.score("accuracy").value == 1.0
    assert any("read as a logit" in n for n in found.notes)
    assert found.importance.rows[0][0] == "feature 0"


def test_one_class_only_and_one_answer_only_are_said():
    model, frame, _ = adult()
    found = pellucid.board(model, frame, ["<=50K"] * 240, examples=1)
    assert "nothing to tell apart" in found.warnings[0]
    assert not found.performance.curves.drawn
    assert "ROC curves" not in found.to_html()
    assert not [s for s in found.performance.scores if s.name.startswith("F1")]
    constant = pellucid.board(
        pellucid.wrap(lambda a: np.full(len(a), 0.25), output="probability"),
        np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) % 2, examples=1,
    )  # fmt: skip
    assert any("same answer" in w for w in constant.warnings)
    assert constant.score("AUC of class 1").value == 0.5
    assert not len(constant.slices)


def test_labels_with_another_index_are_matched_by_position_and_that_is_said():
    frame = pandas.DataFrame({"dose": np.linspace(-1, 1, 40)}, index=np.arange(40)[::-1])
    model = lambda t: np.stack([-t["dose"], t["dose"]], axis=1)  # noqa: E731
    labels = (frame["dose"] > 0).astype(int)
    same = pellucid.board(model, frame, labels, examples=0)
    other = pellucid.board(model, frame, labels.reset_index(drop=True), examples=0)
    assert same.score("accuracy").value == other.score("accuracy").value == 1
    assert "by position" in other.warnings[0]
    assert not any("by position" in w for w in same.warnings)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "page.html"
    with pytest.raises(InputError, match=re.escape(str(path))):
        write_page("<p>", path)
    found = pellucid.board(lambda a: a, np.eye(4, 2), np.arange(4) % 2, examples=0)
    with pytest.raises(InputError, match="can be written"):
        found.save(path)


def test_outputs_that_are_no_matrix_are_refused():
    x = np.zeros((20, 4, 4, 1), np.float32)
    with pytest.raises(CapabilityError, match="one row of numbers"):
        pellucid.board(lambda a: a, x, np.zeros(20, int))


def test_what_is_given_to_slice_by_has_a_value_a_row():
    with pytest.raises(InputError, match=r"slices\['site'\]"):
        columns_given({"site": ["a", "b"]}, 3)
    with pytest.raises(InputError, match="data frame"):
        columns_given(["a", "b"], 2)


def test_a_wrong_method_is_the_users_to_know():
    model, frame, labels = adult()
    with pytest.raises(CapabilityError):
        pellucid.board(model, frame, labels, method="gradcam", examples=1)


HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>{{ 7 * 7 }}\"'$x_1$"


def test_hostile_names_stay_words():
    rng = np.random.default_rng(0)
    x = pandas.DataFrame({HOSTILE: rng.normal(size=200), "b": rng.choice([HOSTILE, "c"], 200)})
    y = np.where((x[HOSTILE] > 0) ^ (rng.random(200) < 0.2), HOSTILE, "no")
    encode = make_column_transformer(
        (StandardScaler(), [HOSTILE]), (OneHotEncoder(handle_unknown="ignore"), ["b"])
    )
    model = make_pipeline(encode, LogisticRegression()).fit(x, y)
    found = pellucid.board(model, x, y, title=HOSTILE, examples=1)
    for page in (found.to_html(), found._repr_html_()):
        assert "<img src=x" not in page
        assert "<script>alert" not in page
    assert "{{ 7 * 7 }}" in found.to_html().split("</h1>")[0].split("<h1>")[1]
    assert "http" not in found.to_html().split("</head>")[1].replace("http-equiv", "")


def test_a_page_is_small_and_says_so_without_scripts(of_adult, tmp_path):
    path = of_adult.save(tmp_path / "deep" / "board.html")
    text = path.read_text("utf-8")
    assert len(text) < 1e6
    assert text.count("<script") == 1  # the numbers, as JSON, which run nothing
    assert "default-src 'none'" in text
    assert "script-src" not in text
    for words in ("How well it does", "Where it errs most", "What counts", "Surely wrong"):
        assert words in text
    assert 'sandbox=""' in of_adult._repr_html_()


def test_a_page_that_cannot_fit_is_refused_and_a_cell_says_so_in_words(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    found = pellucid.board(lambda a: a[:, 0], x, x[:, 0] + rng.normal(size=120), examples=0)
    best = len(found.to_html().encode())
    smaller = found.to_html(budget_megabytes=0.9 * best / 1e6)
    assert len(smaller.encode()) <= 0.9 * best
    with pytest.raises(InputError, match=r"smallest pictures; the budget is 0\.01 MB"):
        found.save(tmp_path / "board.html", budget_megabytes=0.01)
    assert not (tmp_path / "board.html").exists()
    monkeypatch.setattr(found.__class__, "to_html", refused)
    cell = found._repr_html_()
    assert "save(path)" in cell
    assert "mean absolute error" in cell
    assert "<iframe" not in cell


def refused(board, **budget):
    raise InputError("too large")


def test_a_board_needs_no_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import numpy as np, pellucid\n"
        "x = np.random.default_rng(0).normal(size=(80, 2))\n"
        "b = pellucid.board(pellucid.wrap(lambda a: 1 / (1 + np.exp(-a[:, 0])),"
        " output='probability'), x, (x[:, 0] > 0).astype(int), examples=0)\n"
        "assert b.score('accuracy').value == 1"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
