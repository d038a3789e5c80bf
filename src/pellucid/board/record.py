"""A board as plain data, for programs."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.board.performance import Classification
from pellucid.board.scores import Score

if TYPE_CHECKING:
    from pellucid.board.columns import Distribution
    from pellucid.board.places import Places
    from pellucid.board.result import Board

FORMAT = "pellucid-board/1"
_MOST_CLASSES = 50


def record(board: "Board") -> dict[str, Any]:
    """Everything on the page but its pictures and attributions, in JSON's own types (no NaN)."""
    performance = board.performance
    found: dict[str, Any] = {
        "format": FORMAT,
        "title": board.title,
        "task": board.task,
        "rows": {"given": board.count, "looked_at": board.rows},
        "model": board.model,
        "class_names": list(board.class_names),
        "scores": [_score(s) for s in performance.scores],
        "slices": None if board.slices is None else _slices(board),
        "importance": None if board.importance is None else _importance(board),
        "places": None if board.places is None else _places(board.places),
        "examples": [
            {"title": g.title, "rows": [
                {"row": e.row, "label": e.label, "predicted": e.predicted, "sure": e.sure}
                for e in g.examples]}
            for g in board.examples
        ],
        "inputs": [_distribution(d) for d in board.inputs],
        "answers": [_distribution(d) for d in board.answers],
        "stages": [stage.__dict__ for stage in board.stages],
        "seed": board.seed,
        "notes": list(board.notes),
        "warnings": list(board.warnings),
    }  # fmt: skip
    if isinstance(performance, Classification):
        found["calibration"] = {
            "of": performance.calibration.of,
            "bins": [
                {"stated": s, "observed": o, "rows": n}
                for s, o, n in zip(performance.calibration.stated, performance.calibration.observed,
                                   performance.calibration.counts, strict=True)
            ],
        }  # fmt: skip
        found["classes"] = [
            {"name": name, "rows": rows, "predicted": predicted, "recall": _score(recall),
             "precision": _score(precision)}
            for name, rows, predicted, recall, precision in performance.by_class
        ]  # fmt: skip
        if len(performance.confusion) <= _MOST_CLASSES:
            found["confusion"] = performance.confusion
    return plain(found)


def _score(score: Score) -> dict[str, Any]:
    return score._asdict()


def _slices(board: "Board") -> dict[str, Any]:
    assert board.slices is not None
    return {
        "tested": board.slices.tested, "alpha": board.slices.alpha, "support": board.slices.support,
        "found": [
            {"conditions": list(s.conditions), "size": s.size, "error": s.error, "low": s.low,
             "high": s.high, "rest": s.rest, "p": s.p}
            for s in board.slices
        ],
    }  # fmt: skip


def _importance(board: "Board") -> dict[str, Any]:
    assert board.importance is not None
    return {
        "statistic": board.importance.statistic,
        "rows": board.importance.count,
        "columns": [
            {"name": n, "importance": m, "low": low, "high": high}
            for n, m, low, high in board.importance.rows
        ],
    }


def _places(found: "Places") -> dict[str, Any]:
    return {
        "method": found.method,
        "registered": found.registered,
        "classes": [
            {"name": n, "pictures": c, "agreement": r, "shares": m, "low": low, "high": high}
            for n, c, r, m, low, high in zip(found.class_names, found.counts, found.agreement,
                                             found.means, found.low, found.high, strict=True)
        ],
    }  # fmt: skip


def _distribution(d: "Distribution") -> dict[str, Any]:
    return {"name": d.name, "edges": d.edges, "words": d.words, "counts": d.counts,
            "mean_error": d.errors, "missing": d.missing, "distinct": d.distinct}  # fmt: skip


def plain(value: Any) -> Any:
    """`value` in JSON's own types, whole arrays as lists, what is not finite as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
