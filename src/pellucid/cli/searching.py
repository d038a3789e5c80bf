"""The work of `pellucid search`: read the goal, open model and inputs, search, write."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.cli import console
from pellucid.cli.evaluating import masks_of, opened
from pellucid.cli.explaining import Request
from pellucid.cli.labels import classes_of, labels_of_table, lines_of
from pellucid.cli.tables import Table
from pellucid.errors import InputError

if TYPE_CHECKING:
    from pellucid.search import Goal, SearchResult


def read_goal(path: Path | None, budget: int | None) -> "Goal":
    """The goal of a file, or the usual one; with another budget where one is given."""
    from pellucid.search import Goal

    found = Goal() if path is None else Goal.from_toml(path)
    return found if budget is None else replace(found, budget=budget)


@dataclass(frozen=True)
class Asked:
    """What is searched for, beside the request."""

    table: Table | None
    goal: "Goal"
    imputers: Sequence[str] | None
    file: Path | None
    masks: Path | None = None
    labels: str | None = None


def searched(request: Request, asked: Asked) -> "SearchResult":
    """What `pellucid.search` finds on the pictures or the table.

    Raises the errors of arguments and of loading; a picture that cannot be read is one of them.
    """
    from pellucid.search import search

    table, y = asked.table, None
    if table is not None:
        table, y = labels_of_table(table, asked.labels)
    elif asked.labels is not None:
        y = lines_of(Path(asked.labels), len(request.images))
    model, x, background, _ = opened(request, table)
    with console.progress_bar("search", wanted=request.progress) as advance:
        return search(
            model,
            x,
            asked.goal,
            target=request.targets[0],
            labels=y if table is not None else classes_of(y, model),
            masks=masks_of(asked.masks, request, x),
            background=background,
            imputers=asked.imputers,
            seed=int(request.settings["seed"]),
            batch_size=request.settings["batch_size"],
            file=asked.file,
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
