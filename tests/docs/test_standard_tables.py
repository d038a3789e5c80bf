"""The table of six photographs in standard.md is what `docs/standard_tables.py` computes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
import standard_tables  # noqa: E402

PAGE = (DOCS / "standard.md").read_text("utf-8")
NUMBER = re.compile(r"−?\d+\.\d\d")


def test_the_page_has_the_form_of_the_table():
    names = [*standard_tables.METHODS, *standard_tables.CONTROLS]
    assert f"| | {' | '.join(names)} |" in PAGE
    for identifier, score in standard_tables.SCORES.items():
        assert f"\n| {identifier} `{score}` | " in PAGE.split("## On a real network")[1]


@pytest.mark.slow
def test_the_page_s_numbers_are_those_of_the_present_code():
    told = PAGE.split("## On a real network")[1].split("###")[0].splitlines()
    shown = [line for line in told if line.startswith("|")]
    made = standard_tables.rows_of(standard_tables.six_photographs())
    assert len(shown) == len(made)
    for page, now in zip(shown, made, strict=True):
        assert NUMBER.sub("", page) == NUMBER.sub("", now)
        both = [np.array([float(n.replace("−", "-")) for n in NUMBER.findall(line)])
                for line in (page, now)]  # fmt: skip
        np.testing.assert_allclose(*both, atol=0.015)
