"""Which rule each operation of a model gets from a method, and which have none."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from pellucid.adapters.derived import info_of
from pellucid.adapters.facts import OPERATION_KINDS
from pellucid.adapters.protocol import Intercept, Operation, OperationInfo
from pellucid.counting import CountedModel
from pellucid.errors import CapabilityError, InputError
from pellucid.explaining.before import check_modality, require_tier
from pellucid.methods.registry import make_method
from pellucid.model import Model
from pellucid.running.layers import full_path
from pellucid.running.outputs import model_errors, single_output
from pellucid.types import Array, Leaves

_ROWS = 32
"""More than one, for models that run other operations where no row is padded."""

_COLUMNS = ("rule", "operation", "kind", "times", "first in")


@dataclass(frozen=True)
class CoveredOperation:
    """One operation of a run; `rule` is None where the method has none for it."""

    index: int
    kind: str
    name: str
    path: str
    call: int
    rule: str | None


@dataclass(frozen=True)
class Coverage:
    """The operations of one run that depend on the inputs, with the rule that each gets.

    `instead` names the nearest method that needs no rules.
    """

    method: str
    operations: tuple[CoveredOperation, ...]
    instead: str

    @property
    def complete(self) -> bool:
        """Whether every operation has a rule, so that the method runs."""
        return not self.uncovered

    @property
    def uncovered(self) -> tuple[CoveredOperation, ...]:
        """The operations without a rule."""
        return tuple(op for op in self.operations if op.rule is None)

    def __iter__(self) -> Iterator[CoveredOperation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __str__(self) -> str:
        """A line for each rule and operation, those without a rule first."""
        table = [_COLUMNS, *self._rows()]
        widths = [max(len(line[i]) for line in table) for i in range(len(_COLUMNS))]
        lines = [
            "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([self._summary(), *lines])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{c}</th>" for c in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        return f"<p>{escape(self._summary())}</p><table><tr>{head}</tr>{body}</table>"

    def _summary(self) -> str:
        missing = len(self.uncovered)
        if not missing:
            return f"{self.method}: all {len(self)} operations have a rule."
        return (
            f"{self.method}: {missing} of {len(self)} operations have no rule."
            f" {self.instead} needs none."
        )

    def _rows(self) -> list[tuple[str, ...]]:
        times = Counter((op.rule or "", op.name, op.kind) for op in self.operations)
        first = {
            (op.rule or "", op.name, op.kind): op.path or "the model"
            for op in reversed(self.operations)
        }
        return [
            (rule or "none", name, kind, str(number), first[rule, name, kind])
            for (rule, name, kind), number in sorted(times.items())
        ]


def coverage(model: Model, method: str, x: Any, parameters: dict[str, Any]) -> Coverage:
    """What `Model.coverage` returns: one run is made, on `x` or on zeros of the model's shape."""
    made = make_method(method, parameters)
    require_tier(model, type(made))
    held = replace(model, adapter=model.adapter.for_one_explanation())
    batch = held.accept(zeros_for(model) if x is None else x)
    leaves = tuple(a[:_ROWS] for a in batch.leaves)
    layer = made.parameters().get("layer") if made.works_at_layer else None
    check_modality(held, batch, type(made), layered=layer is not None)
    seen: list[CoveredOperation] = []
    infos: list[OperationInfo] = []

    def list_all(op: Operation) -> Array:
        infos.append(info_of(op, None))
        return op()

    def note(op: Operation) -> Array:
        if any(op.live):
            rule = made.rule_of(op)
            seen.append(CoveredOperation(op.index, op.kind, op.name, op.path, op.call, rule))
        return op()

    def both(op: Operation) -> Array:
        infos.append(info_of(op, None))
        return note(op)

    counted = CountedModel(held.adapter, peel=held.peel)
    with model_errors(counted, leaves, held.adapter):
        path = None if layer is None else full_path(layer, held.adapter, leaves)
        if path is not None:
            _run_above(counted, path, leaves, note)
        counted.run(leaves, intercept=list_all if path else both, kinds=OPERATION_KINDS)
    if not seen:
        raise CapabilityError(
            f"Found no operation that depends on {', '.join(batch.names)}, so there is nothing for"
            f" {made.name} to have rules for.\n  Real numbers carry gradients; for whole numbers,"
            " such as those of words, name a layer above them (layer=)."
        )
    own = made.rules_by_place(infos, path)
    covered = tuple(replace(op, rule=own.get(op.index, op.rule)) for op in seen)
    return Coverage(made.name, covered, made.instead)


def _run_above(counted: CountedModel, layer: str, leaves: Leaves, note: Intercept) -> None:
    """A run in which the operations above a layer go to `note`, as they do when it is explained."""

    def fn(given: Leaves) -> tuple[Array, None]:
        reached = []

        def watch(op: Operation) -> Array:
            if op.kind == "layer":
                reached.append(op)
                return given[0]
            return note(op) if reached else op()

        outputs = counted.run(
            leaves, intercept=watch, layers=(layer,), kinds=OPERATION_KINDS | {"layer"}
        )
        return single_output(outputs), None

    counted.vjp(fn, (counted.cut(leaves, layer).value,))


def zeros_for(model: Model) -> Any:
    """One sample of zeros in the shape that the model says it takes.

    Raises `InputError` where it does not say.
    """
    specs = model.inputs or ()
    shapes = [
        tuple(size for size in s.shape if size is not None)
        for s in specs
        if s.shape is not None and s.certain and None not in s.shape
    ]
    if not specs or len(shapes) < len(specs):
        raise InputError(
            "What operations a run has depends on its inputs, and this model does not say which"
            " shape they have.\n  Pass x, one sample is enough: model.coverage(method, x)."
        )
    types = [s.dtype if s.dtype in {"int32", "int64"} else "float32" for s in specs]
    rows = [np.zeros((1, *shape), dtype=t) for shape, t in zip(shapes, types, strict=True)]
    return tuple(rows) if len(rows) > 1 else rows[0]
