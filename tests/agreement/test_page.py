"""The page with the agreement matrix shows every method, and nothing that is not allowed."""

import re
from pathlib import Path

from draw import ALLOWED, CANCELLING, TITLES
from test_keras_backends import BACKENDS
from test_matrix import STYLES_OF

from pellucid.methods.registry import registered

PAGE = Path(__file__).parents[2] / "docs" / "agreement.md"


def rows() -> dict[str, list[str]]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    table = [[entry.strip() for entry in line.strip("|").split("|")] for line in lines]
    return {first.strip("`"): rest for first, *rest in table if set(first) != {"-"}}


def test_every_method_and_framework_is_in_the_table():
    """After a method or a framework is added: `make agreement`."""
    table = rows()
    frameworks = ("callable", *STYLES_OF, *(f"keras on {backend}" for backend in BACKENDS))
    assert set(table.pop("method")) == {TITLES[name] for name in frameworks}
    # Methods of trees and of whole data sets have no cell: tests/unit/test_table_methods.py.
    everywhere = {n: c for n, c in registered().items() if not (c.needs_trees or c.is_global)}
    assert set(table) == {name for name, cls in everywhere.items() if cls.family != "custom"}


def test_no_cell_is_beyond_what_is_allowed():
    table = rows()
    titles = table.pop("method")
    numbers = 0
    for method, entries in table.items():
        assert len(entries) == len(titles), method
        for entry in entries:
            if entry == "–":
                continue
            found, marked, count = re.fullmatch(r"([\d.e+-]+)(\*?) \((\d+)\)", entry).groups()
            assert (float(found) >= ALLOWED) == bool(marked), f"{method}: {entry}"
            assert not marked or (method in CANCELLING and float(found) < 1e-3), entry
            assert int(count) > 0
            numbers += 1
    assert numbers > 5 * len(table)
