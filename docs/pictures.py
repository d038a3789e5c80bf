"""Draws the pictures of these pages again: `make pictures`, or `python docs/pictures.py NAME ...`.

Every file `pictures_*.py` beside this one has a dict `PICTURES`: the name of a file in `images/`
and the function that makes it, as a matplotlib figure, bytes, or the text of an SVG. Only
`agreement.svg` has a command of its own, `make agreement`, for it is measured by tests. Pictures of
whole pages need Chromium.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As in the tests: with more threads sums round otherwise, and t-SNE lays them out otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent


def pictures() -> dict[str, Callable[[], Any]]:
    """All pictures by file name. Raises `ValueError` where two modules make the same one."""
    found: dict[str, Callable[[], Any]] = {}
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    for path in sorted(HERE.glob("pictures_*.py")):
        made = importlib.import_module(path.stem).PICTURES
        twice = sorted(set(made) & set(found))
        if twice:
            raise ValueError(f"{path.name} makes {', '.join(twice)}, which another file makes too.")
        found |= made
    return found


def encoded(made: Any, name: str) -> bytes:
    """A figure, bytes or text as the bytes of a file of that name."""
    if isinstance(made, bytes):
        return made
    if isinstance(made, str):
        return made.encode("utf-8")
    stream = io.BytesIO()
    kind = Path(name).suffix[1:]
    # Nothing of the day or the machine goes into the file.
    extra = {"metadata": {"Date": None}} if kind == "svg" else {}
    if kind == "jpg":
        extra = {"pil_kwargs": {"quality": 85}}
    made.savefig(stream, format=kind, dpi=110, bbox_inches="tight", **extra)
    return stream.getvalue()


def main(names: list[str]) -> None:
    """Write the named pictures, or all."""
    known = pictures()
    for name in names or sorted(known):
        content = encoded(known[name](), name)
        (HERE / "images" / name).write_bytes(content)
        sys.stderr.write(f"{name}: {len(content) / 1000:.0f} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
