"""The work of `pellucid search`: read the goal, open model and inputs, search, write."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.cli import console
from pellucid.cli.evaluating import opened
from pellucid.cli.explaining import Request
from pellucid.cli.tables import Table
from pellucid.errors import InputError

if TYPE_CHECKING:
    from pellucid.search import Goal, SearchResult


def read_goal(path: Path | None, budget: int | None) -> "Goal":
    """The goal of a file, or the usual one; with another budget where one is given."""
    from pellucid.search import Goal

    found = Goal() if path is None else Goal.from_toml(path)
    return found if budget is None else replace(found, budget=budget)


def searched(
    request: Request,
    table: Table | None,
    goal: "Goal",
    imputers: Sequence[str] | None,
    file: Path | None,
) -> "SearchResult":
    """What `pellucid.search` finds on the pictures or the table.

    Raises the errors of arguments and of loading; a picture that cannot be read is one of them.
    """
    from pellucid.search import search

    model, x, background, _ = opened(request, table)
    with console.progress_bar("search", wanted=request.progress) as advance:
        return search(
            model,
            x,
            goal,
            target=request.targets[0],
            background=background,
            imputers=imputers,
            seed=int(request.settings["seed"]),
            batch_size=request.settings["batch_size"],
            file=file,
            progress=advance,
        )


def write(found: "SearchResult", out: Path | None) -> None:
    """`search.json`, `search.png` and `explain.py` in a folder."""
    if out is None:
        return
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        out.mkdir(parents=True, exist_ok=True)
        found.save(out / "search.json")
        found.plot().savefig(out / "search.png", dpi=120)
        (out / "explain.py").write_text(found.reproduce(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {out} cannot be written to: {error}.") from error
