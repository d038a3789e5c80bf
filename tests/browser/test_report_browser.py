"""The report in a real browser with the network cut off."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from explanations import blob, make_explanation, table_explanation

from pellucid.reports import Answer, Study, StudyItem, explanation_html, render_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"
)

MARK = "document.documentElement.dataset.pwned='yes'"
HOSTILE = f'<img src=x onerror="{MARK}"></script><script>{MARK}</script><svg onload="{MARK}">'
HOSTILE += "<img src=https://outside.invalid/b.png>"

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


def browse(page: Path, folder: Path, *flags: str) -> str:
    """Open the page and return its document as the browser left it."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8")


def hostile_study() -> Study:
    rng = np.random.default_rng(0)
    display = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    image = make_explanation(
        blob(32, 32, 0.3, 0.3)[None], dims=("sample", "height", "width"), display=display,
        inputs=np.zeros((1, 32, 32, 3)), method=HOSTILE, target_names=(HOSTILE,),
        warnings=(HOSTILE,),
    )  # fmt: skip
    table = table_explanation([1.0, -2.0], feature_names=(HOSTILE, "b"), method=HOSTILE)
    items = [
        StudyItem(HOSTILE, [Answer(HOSTILE, image)], predictions=[(HOSTILE, 0.5)], caption=HOSTILE),
        StudyItem(HOSTILE, [Answer(HOSTILE, table)]),
    ]
    return Study(HOSTILE, items, {HOSTILE: HOSTILE}, reproduce=HOSTILE, notes=[HOSTILE])


def test_hostile_names_do_not_execute_and_the_slider_works(tmp_path: Path):
    page = render_report(hostile_study(), tmp_path / "report.html")
    document = browse(page, tmp_path, "--dump-dom")
    assert "data-pwned" not in document
    # The script of our own did run: it uncovers the slider.
    assert re.search(r'<p class="opacity"><label', document)
    assert document.count("<script") == 2


def test_a_notebook_cell_does_not_execute_either(tmp_path: Path):
    item = hostile_study().items[0]
    page = tmp_path / "cell.html"
    page.write_text(
        f"<!DOCTYPE html><meta charset=utf-8>{explanation_html(item.answers[0].explanation)}",
        encoding="utf-8",
    )
    assert "data-pwned" not in browse(page, tmp_path, "--dump-dom")


def requested(page: Path, folder: Path) -> set[str]:
    """The addresses asked for by the page, without those Chromium asks for by itself."""
    log = folder / "net.json"
    browse(page, folder, "--dump-dom", f"--log-net-log={log}")
    addresses = set(re.findall(r'"url":"([^"]+)"', log.read_text(encoding="utf-8")))
    own = re.compile(
        r"(chrome|devtools|data|about)[\w-]*:|https?://[\w.-]*\.(google|googleapis|gvt1)\."
    )
    return {address for address in addresses if not own.match(address)}


def test_nothing_is_requested_but_the_page_itself(tmp_path: Path):
    leaky = tmp_path / "leaky.html"
    leaky.write_text("<img src=https://outside.invalid/a.png>", encoding="utf-8")
    assert any("outside.invalid" in address for address in requested(leaky, tmp_path))
    page = render_report(hostile_study(), tmp_path / "report.html")
    assert requested(page, tmp_path) <= {page.as_uri()}


def test_it_is_drawn_at_two_widths(tmp_path: Path):
    from PIL import Image

    page = render_report(hostile_study(), tmp_path / "report.html")
    for width in (1280, 600):
        shot = tmp_path / f"{width}.png"
        browse(page, tmp_path, f"--window-size={width},1400", f"--screenshot={shot}")
        with Image.open(shot) as image:
            assert np.asarray(image.convert("L")).std() > 10
