"""A comparison as a folder: a picture for every method and sample, and one page."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.explanation import Explanation
from pellucid.model import Model
from pellucid.reports.items import Answer, Study, StudyItem
from pellucid.reports.study import render_report

if TYPE_CHECKING:
    from pellucid.standard.scorecard import Scorecard

DOTS_PER_INCH = 130


def file_name(text: str) -> str:
    """`text` as part of a file name: letters, digits, dots, dashes."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "item"


def save_picture(explanation: Explanation, sample: int, path: Path) -> Path:
    """One sample's explanation as a PNG: the picture and its map, bars for a table."""
    explanation.plot(sample).savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")
    return path


def model_facts(model: Model, explanation: Explanation) -> dict[str, str]:
    """What a reader should know of the model: framework, versions, fingerprint, how it was read."""
    provenance = explanation.provenance
    facts = {
        "framework": model.framework,
        "fingerprint": provenance["fingerprint"],
        **{f"{name} version": v for name, v in provenance["versions"].items()},
        "device": provenance["device"],
    }
    if model.source:
        facts["source"] = model.source
    if model.inputs:
        facts["inputs"] = ", ".join(f"{s.name} {s.shape}" for s in model.inputs)
    if explanation.outputs is not None:
        facts["outputs"] = str(explanation.outputs.shape[1])
    facts["layers"] = str(len(model.layers()))
    notes = provenance.get("notes")
    if notes:
        facts["read by"] = "; ".join(notes)
    return facts


def write_folder(
    model: Model,
    explanations: Mapping[str, Explanation],
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    failures: Mapping[str, str] | None = None,
    title: str = "What the model's answers rest on",
    scorecard: "Scorecard | None" = None,
) -> list[Path]:
    """Write PNGs and `report.html`; returns the files, the page first."""
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(explanations.values()))
    names = names or [f"sample {i}" for i in range(len(first))]
    files = [
        save_picture(e, i, folder / f"{file_name(name)}-{file_name(method)}.png")
        for i, name in enumerate(names)
        for method, e in explanations.items()
    ]
    study = Study(
        title=title,
        items=[
            StudyItem(
                name=name,
                answers=[Answer(f"Why {e.target_names[i]}?", e, i) for e in explanations.values()],
            )
            for i, name in enumerate(names)
        ],
        model=model_facts(model, first),
        reproduce="\n".join(e.reproduce() for e in explanations.values()),
        notes=[f"{method} failed: {why}" for method, why in (failures or {}).items()],
        scorecard=scorecard,
    )
    return [render_report(study, folder / "report.html"), *files]
