"""The pictures of whole pages, as Chromium shows them: the demo's report, a board, a report."""

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import pictures_board
import pictures_tree
from PIL import Image, ImageChops

import pellucid
from pellucid.demo.run import run_demo

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


def seen(page: Path, height: int) -> Image.Image:
    """The page's top, 1200 pixels wide. Raises `FileNotFoundError` without Chromium."""
    if CHROMIUM is None:
        raise FileNotFoundError("Pictures of pages need Chromium: apt-get install chromium.")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = [
            CHROMIUM, *FLAGS, f"--user-data-dir={folder}/profile", f"--screenshot={shot}",
            f"--window-size=1200,{height}", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        with Image.open(shot) as image:
            return image.convert("RGB")


def in_columns(page: Image.Image, columns: int) -> Image.Image:
    """A long page at half its size, cut into columns side by side; without its empty end."""
    ground = Image.new("RGB", page.size, page.getpixel((0, 0)))
    used = ImageChops.difference(page, ground).getbbox()
    bottom = page.height if used is None else min(used[3] + 40, page.height)
    half = page.crop((0, 0, page.width, bottom)).resize(
        (page.width // 2, bottom // 2), Image.Resampling.LANCZOS
    )
    tall = -(-half.height // columns)
    sheet = Image.new("RGB", (half.width * columns, tall), page.getpixel((0, 0)))
    for column in range(columns):
        part = half.crop((0, column * tall, half.width, min((column + 1) * tall, half.height)))
        sheet.paste(part, (column * half.width, 0))
    return sheet


def small(image: Image.Image) -> bytes:
    """The picture as a JPEG."""
    stream = io.BytesIO()
    image.save(stream, format="jpeg", quality=60, optimize=True)
    return stream.getvalue()


def demo() -> bytes:
    """The top of the report that `pellucid demo` writes."""
    with tempfile.TemporaryDirectory() as folder:
        run_demo(Path(folder))
        return small(seen(Path(folder) / "report.html", 1500))


def board() -> bytes:
    """The page of a board of incomes: slices, importance, and examples with their explanations."""
    with tempfile.TemporaryDirectory() as folder:
        page = pictures_board.of_adult(examples=2).save(Path(folder) / "board.html")
        return small(in_columns(seen(page, 8000), 2))


def report() -> bytes:
    """A whole report, of a forest on the Adult table."""
    forest, table = pictures_tree.adult()
    labels = pictures_tree.incomes()
    with tempfile.TemporaryDirectory() as folder:
        pellucid.report(
            forest, table[360:], labels[360:],
            methods=[("kernel_shap", {"background": table[:20]})],
            examples=2, evaluate=False, title="Income in the Adult table, by a forest",
            board_options={"examples": 1},
            out=Path(folder) / "report.html",
        )  # fmt: skip
        return small(in_columns(seen(Path(folder) / "report.html", 13000), 3))


PICTURES = {"report.jpg": demo, "board-page.jpg": board, "report-whole.jpg": report}
