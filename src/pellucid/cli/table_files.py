"""What explaining a table leaves behind: every attribution, pictures, a page, plain data."""

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.cli import console
from pellucid.cli.targets import file_name_part
from pellucid.errors import InputError
from pellucid.plain import readable

if TYPE_CHECKING:
    from pellucid.cli.explaining import Outcome, Request
    from pellucid.explanation import Explanation
    from pellucid.model import Model

_ROWS_DRAWN = 3
"""The first rows have a picture and a place in the report each."""


def write(request: "Request", model: "Model", frame: Any, outcome: "Outcome") -> list[Path]:
    """Write CSV and what else was asked for; returns the files, the page first.

    Raises `InputError` where the folder cannot be written to.
    """
    if request.out is None or not outcome.done:
        return []
    os.environ.setdefault("MPLBACKEND", "Agg")
    files: list[Path] = []
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        if "html" in request.formats:
            files.append(_report(request, model, outcome, frame.index))
        for target, explanation in outcome.done:
            stem = f"{explanation.method}-{file_name_part(target)}"
            files.append(write_csv(explanation, frame.index, request.out / f"{stem}.csv"))
            if "png" in request.formats:
                files += _pictures(explanation, request.out, stem, frame.index)
        if "json" in request.formats:
            path = request.out / "result.json"
            text = console.json_text(document(request, model, None, frame, outcome))
            path.write_text(text + "\n", encoding="utf-8")
            files.append(path)
    except OSError as error:
        raise InputError(f"--out {request.out} cannot be written to: {error}.") from error
    return files


def write_csv(explanation: "Explanation", index: Any, path: Path) -> Path:
    """One line a row: its number in the table, what was explained, and every attribution."""
    from pellucid.units import by_unit

    part = by_unit(explanation.parts[0])
    names = part.feature_names or [f"feature {i}" for i in range(part.values.shape[1])]
    base = explanation.baseline_score
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["row", "explained", "score", "base", *names])
        for i, row in enumerate(index):
            start = "" if base is None else f"{base[i]:.7g}"
            values = [f"{v:.7g}" for v in part.values[i]]
            lines.writerow(
                [row, explanation.target_names[i], f"{explanation.score[i]:.7g}", start, *values]
            )
    return path


def _pictures(explanation: "Explanation", out: Path, stem: str, index: Any) -> list[Path]:
    wanted: list[tuple[str, int, str]] = []
    if len(explanation) > 1:
        wanted += [("importance", 0, "importance"), ("beeswarm", 0, "beeswarm")]
    from pellucid.plots.columns import adds_up

    count = min(len(explanation), _ROWS_DRAWN)
    kind = "waterfall" if adds_up(explanation) else "bars"
    wanted += [(kind, i, f"{kind}-{file_name_part(str(index[i]))}") for i in range(count)]
    files = []
    for kind, sample, name in wanted:
        path = out / f"{stem}-{name}.png"
        explanation.plot(sample, kind=kind).savefig(path, dpi=130, bbox_inches="tight")
        files.append(path)
    return files


def _report(request: "Request", model: "Model", outcome: "Outcome", index: Any) -> Path:
    from pellucid.reports import Answer, Study, StudyItem, render_report
    from pellucid.reports.folder import model_facts

    assert request.out is not None
    first = outcome.done[0][1]
    items = [
        StudyItem(
            name=f"row {index[i]}",
            answers=[Answer(f"Why {e.target_names[i]}?", e, i) for _, e in outcome.done],
        )
        for i in range(min(len(first), _ROWS_DRAWN))
    ]
    study = Study(
        title=f"What {Path(request.model).name} makes of the table",
        items=items,
        model=model_facts(model, first),
        reproduce=console.command_line(),
        notes=[f"{name}: {text.splitlines()[0]}" for name, text in outcome.failed.items()],
    )
    return render_report(study, request.out / "report.html")


def document(
    request: "Request", model: "Model", path: Path | None, frame: Any, outcome: "Outcome"
) -> dict[str, Any]:
    """The result as plain data: importance over the rows, and the strongest columns of each."""
    return {
        "model": {
            "source": request.model,
            "framework": model.framework,
            "fingerprint": model.fingerprint(),
        },
        "table": None if path is None else str(path),
        "out": None if request.out is None else str(request.out),
        "explanations": [_entry(target, e, frame.index) for target, e in outcome.done],
        "failed": outcome.failed,
        "files": [str(file) for file in outcome.files],
    }


def _entry(target: Any, e: "Explanation", index: Any) -> dict[str, Any]:
    from pellucid.plain import plain

    several = len(e) > 1
    return {
        "method": e.method,
        "asked": "top" if target is None else target,
        "explained": e.explained,
        # What a loss rises by is no push towards or away.
        "signed": "importance" not in e.extras,
        "importance": [
            {"feature": name, "importance": mean, "low": low, "high": high}
            for name, mean, low, high in (e.importance() if several else ())
        ],
        "rows": [
            {
                "row": int(row) if isinstance(row, int | np.integer) else str(row),
                "target_name": e.target_names[i],
                "prediction_name": e.prediction_names[i],
                "score": float(e.score[i]),
                "base": None if e.baseline_score is None else float(e.baseline_score[i]),
                "gap": None if e.gap is None else float(e.gap[i]),
                "top": [
                    {"feature": name, "attribution": a, "value": value}
                    for name, a, value in e.top(5, sample=i)
                ],
            }
            for i, row in enumerate(index)
        ],
        "evaluations": e.evaluations._asdict(),
        "seconds": round(e.seconds, 4),
        "seed": e.seed,
        "parameters": plain(e.parameters),
        "warnings": list(e.warnings),
    }


def print_result(result: dict[str, Any]) -> None:
    """The result for people: what counts over all rows, the first rows, then the files."""
    for entry in result["explanations"]:
        count = len(entry["rows"])
        console.result(f"{entry['method']}, {count} row{'s' * (count > 1)}:")
        if entry["importance"]:
            _print_importance(entry["importance"][:10])
        _print_rows(entry["rows"][:10], "+" if entry["signed"] else "")
        if count > 10:
            console.result(f"... and {count - 10} more rows in the files")
    for file in result["files"]:
        console.result(file)


def _print_importance(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("column", overflow="fold")
    table.add_column("importance", justify="right")
    table.add_column("95 % interval")
    for row in rows:
        table.add_row(
            escape(row["feature"]), f"{row['importance']:.4g}",
            f"{row['low']:.4g} to {row['high']:.4g}",
        )  # fmt: skip
    console.stdout().print(table)


def _print_rows(rows: list[dict[str, Any]], sign: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("row", "predicted", "score", "strongest columns"):
        table.add_column(name, overflow="fold", justify="right" if name == "score" else "left")
    for row in rows:
        words = ", ".join(
            f"{t['feature']} = {_value(t['value'])} ({t['attribution']:{sign}.3g})"
            for t in row["top"][:3]
        )
        table.add_row(
            str(row["row"]), escape(row["prediction_name"]), f"{row['score']:.4g}", escape(words)
        )
    console.stdout().print(table)


def _value(value: Any) -> str:
    return readable(value)
