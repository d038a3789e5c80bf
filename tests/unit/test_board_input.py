"""What a board takes: labels that are floats, gaps in what is known, very many columns."""

import time

import numpy as np
import pandas
import pytest

import pellucid
from pellucid.board.columns import Column, columns_given, cut
from pellucid.board.importance import MOST_COLUMNS
from pellucid.board.sampling import rows_for_importance
from pellucid.board.slices import find_slices
from pellucid.errors import InputError


def table(count: int = 200):
    x = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    return x, (x[:, 0] > 0.2)


@pytest.mark.parametrize("kind", [float, int, bool, object])
def test_probabilities_and_labels_0_and_1_of_any_type_are_two_classes(kind):
    x, y = table()
    made = pellucid.board(lambda a: 1 / (1 + np.exp(-a[:, 0])), x, y.astype(kind), examples=0)
    assert made.task == "classification"
    assert any("read as a probability" in n for n in made.notes)


def test_a_number_for_labels_0_and_1_says_what_is_so():
    x, y = table()
    said = "leaves that range"
    made = pellucid.board(lambda a: 9 * a[:, 0], x, y.astype(float), examples=0)
    assert made.task == "regression"
    assert any(said in n for n in made.notes)
    zeros = pellucid.board(lambda a: 9 * a[:, 0], x, np.zeros(len(x)), examples=0)
    assert not any(said in n for n in zeros.notes)


def test_several_outputs_that_are_no_probabilities_are_refused_as_one_is():
    x, y = table()

    def logits(a):
        return np.stack([-5 * a[:, 0], 5 * a[:, 0]], axis=1)

    for model in (logits, lambda a: 5 * a[:, 0]):
        with pytest.raises(InputError, match="leave"):
            pellucid.board(pellucid.wrap(model, output="probability"), x, y.astype(int))


@pytest.mark.parametrize("frame", [False, True])
def test_infinity_to_slice_by_is_refused_before_anything_is_predicted(frame):
    x, y = table()
    ages = np.arange(200.0)
    ages[[3, 17]] = np.inf, -np.inf
    given = pandas.DataFrame({"age": ages}) if frame else {"age": ages}
    calls = []

    def model(a):
        calls.append(len(a))
        return 1 / (1 + np.exp(-a[:, 0]))

    wrapped = pellucid.wrap(model, output="probability")
    with pytest.raises(InputError, match=r"slices\['age'\].*2 rows.*\[3, 17\]"):
        pellucid.board(wrapped, x, y.astype(int), slices=given)
    assert not calls


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "b", float("nan")],
        np.array(["a", None, "b", np.nan], dtype=object),
        pandas.Series(["a", pandas.NA, "b", pandas.NA]),
        ["a", pandas.NaT, "b", np.datetime64("nat")],
    ],
)
def test_what_is_missing_among_words_is_no_word(values):
    (column,) = columns_given({"site": values}, 4)
    assert column.words == ("a", "b")
    assert np.isnan(column.values).tolist() == [False, True, False, True]
    assert cut(column)[1] == ["site = a", "site = b", "site is missing"]


def test_numbers_with_gaps_are_numbers():
    (column,) = columns_given({"age": [30, None, 41.5]}, 3)
    assert column.words is None
    assert column.values.tolist()[::2] == [30.0, 41.5]
    assert np.isnan(column.values[1])
    (column,) = columns_given({"none": [None, None]}, 2)
    assert np.isnan(column.values).all()


def many(columns: int, count: int):
    rng = np.random.default_rng(0)
    found = [Column(f"n{i}", v) for i, v in enumerate(rng.normal(size=(columns, count)))]
    return found, (rng.random(count) < np.where(found[30].values > 1, 0.5, 0.1)).astype(float)


def test_the_correction_counts_at_least_all_pairs_that_have_enough_rows():
    columns, errors = many(40, 1000)
    found = find_slices(columns, errors, support=30)
    codes = [cut(c)[0] for c in columns]
    exact = 40 * 5 + sum(
        int((np.bincount(5 * a + b, minlength=25) >= 30).sum())
        for i, a in enumerate(codes)
        for b in codes[:i]
    )
    assert exact <= found.tested <= 40 * 5 + 40 * 39 // 2 * 25
    assert f"at most {found.tested:,} conditions" in found.note
    assert found[0].conditions[0].startswith("n30 > ")
    few = find_slices(columns[20:32], errors, support=30)
    assert few.tested <= 12 * 5 + 12 * 11 // 2 * 25
    assert "at most" not in few.note


def test_pictures_as_tables_are_searched_in_a_time_that_is_bounded():
    columns, errors = many(1010, 3000)
    given = Column("site", (columns[30].values > 1).astype(float), ("in", "out"), "given")
    began = time.process_time()
    found = find_slices([*columns, given], errors)
    assert time.process_time() - began < 20  # all pairs of each search: minutes
    assert found[0].conditions == ("site = out",)
    assert found.note.startswith("1000 columns")
    assert "11 further columns are not searched" in found.note


def test_importance_of_very_many_columns_takes_fewer_rows_or_is_left_out():
    def rows(columns: int) -> int:
        array = np.broadcast_to(np.float32(0), (5000, columns))
        return len(rows_for_importance(5000, array, None, None, 5, 0))

    assert [rows(n) for n in (10, 200, 784, 5000)] == [2000, 2000, 510, 200]
    x = np.random.default_rng(0).normal(size=(60, MOST_COLUMNS + 1)).astype(np.float32)
    model = pellucid.wrap(lambda a: 1 / (1 + np.exp(-a[:, 0])), output="probability")
    made = pellucid.board(model, x, (x[:, 0] > 0).astype(int), examples=0)
    assert made.importance is None
    assert any(n.startswith("No importance: 2,001 columns") for n in made.notes)
