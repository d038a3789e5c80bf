"""The scorecard in the report and as a page of its own: complete, safe, alone."""

import json
import re

import numpy as np
import pytest

from pellucid import Explainer, evaluate
from pellucid.methods.registry import registered
from pellucid.reports.asks import ASKS
from pellucid.reports.cells import TITLES

X = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
SCORES = ["I1", "C1", "C2", "C6", "V1"]


def model(x):
    return np.tanh(np.asarray(x) @ WEIGHTS)


@pytest.fixture(scope="module")
def card():
    return evaluate(model, X, {"<b>mine</b>": X, "occlusion": "occlusion"}, standard=SCORES)


def test_a_page_of_its_own_holds_every_score_and_loads_nothing(card):
    page = card.to_html()
    for title in ("Credibility", "Interpretability", "Speed", "Gates", "In one number an axis"):
        assert title in page
    assert "C1 srg" in page
    assert "Random (control)" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert "<script" not in page


def test_names_from_outside_do_not_become_markup(card):
    page = card.to_html()
    assert "<b>mine" not in page
    assert "&lt;b&gt;mine" in page


def test_what_cannot_be_trusted_is_said(card):
    page = card.to_html()
    assert "What not to trust" in page
    for remark in card.remarks():
        assert remark.split("<")[0][:20] in page


def test_the_report_ends_with_the_scorecard_and_its_record_holds_the_numbers(tmp_path):
    explainer = Explainer(model, ["occlusion", "lime"])
    page, *_ = explainer.visualize_all(X, tmp_path, evaluate={"standard": SCORES})
    text = page.read_text("utf-8")
    assert 'id="judged-title"' in text
    found = re.search(r'id="pellucid-data">(.*?)</script>', text, re.DOTALL)
    assert found
    record = json.loads(found.group(1))
    assert len(record["scorecard"]["scores"]["occlusion"]["srg"]["dataset"]) == len(X)
    plain, *_ = explainer.visualize_all(X, tmp_path / "plain")
    assert "judged-title" not in plain.read_text("utf-8")


def test_every_method_that_ships_has_a_title_and_says_what_it_asks():
    own = {n for n, m in registered().items() if m.__module__.startswith("pellucid.methods")}
    assert own <= set(TITLES)
    assert own <= set(ASKS)
