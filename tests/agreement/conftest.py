"""What the agreement tests find, kept for the table in the docs (`make agreement`)."""

from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--agreement", metavar="FOLDER", help="write agreement.md and its picture into FOLDER"
    )


def pytest_collection_modifyitems(config, items):
    """What checks the page is left out while the page is drawn: it would check the old one."""
    if config.getoption("--agreement", default=None) is not None:
        stale = [item for item in items if item.path.name == "test_page.py"]
        config.hook.pytest_deselected(items=stale)
        items[:] = [item for item in items if item not in stale]


@pytest.fixture
def cell(record_property):
    """`cell(method, framework, difference)` notes a cell of the table, and returns the number."""

    def note(method: str, framework: str, difference: float) -> float:
        record_property("agreement", (method, framework, float(difference)))
        return difference

    return note


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    folder = config.getoption("--agreement", default=None)
    if folder is None or hasattr(config, "workerinput"):  # a worker knows its own tests alone
        return
    if exitstatus:
        terminalreporter.write_line("No table is drawn from tests that fail.")
        return
    from draw import draw

    passed = terminalreporter.stats.get("passed", [])
    found = [v for report in passed for k, v in report.user_properties if k == "agreement"]
    for path in draw(found, Path(folder)):
        terminalreporter.write_line(f"wrote {path}")
