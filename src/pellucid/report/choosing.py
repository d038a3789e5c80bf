"""What the methods that a user named are compared with."""

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.board.examples import background_rows
from pellucid.inputs.batch import Batch
from pellucid.methods.registry import takes_parameter
from pellucid.model import Model

Asked = Sequence[str | tuple[str, Mapping[str, Any]]]


def with_background(asked: Asked, model: Model, batch: Batch, seed: int) -> Asked:
    """Tables: the rows of `background_rows` for the methods that ask for a background."""
    if len(batch.arrays) != 1 or model.modality(batch) != "table":
        return asked
    draw = background_rows(len(batch), seed)
    rows = model.adapter.as_given(tuple(a[draw] for a in batch.arrays))
    filled: list[str | tuple[str, Mapping[str, Any]]] = []
    for entry in asked:
        name, given = (entry, {}) if isinstance(entry, str) else entry
        if takes_parameter(name, "background") and "background" not in given:
            given = {**given, "background": rows}
        filled.append((name, given) if given else name)
    return filled
