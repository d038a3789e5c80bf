"""Asking everything of a model and its data, and putting it together."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.board import Board, board
from pellucid.board.examples import as_shown, empty_maps, fitting
from pellucid.board.labels import check_labels
from pellucid.comparison import Comparison
from pellucid.counting import Tally, tallied
from pellucid.errors import CapabilityError, InputError, PellucidError
from pellucid.explainer import Explainer
from pellucid.explaining.before import check_feature_names, check_seed
from pellucid.explanation import Explanation
from pellucid.inputs.batch import Batch
from pellucid.inside import Structure, SurrogateTree, inspect, surrogate_tree
from pellucid.model import Model, wrap
from pellucid.plain import readable
from pellucid.report.choosing import with_background
from pellucid.report.data_card import data_card
from pellucid.report.result import Cost, Report
from pellucid.report.script import script_of
from pellucid.search.samples import target_of_rows
from pellucid.standard import evaluate as judge
from pellucid.types import TargetLike

if TYPE_CHECKING:
    from pellucid.reports.items import Study

TITLE = "What this model does, and why"
EXAMPLES = 12
JUDGED = 8
"""Samples that are judged by the standard: each asks for hundreds of evaluations."""
JUDGED_AGAINST = 50
"""Rows for the data where features are removed, drawn by `default_rng([seed, 71])`."""
TREE_ROWS, TREE_MOST = 50, 5000
"""The fewest rows a tree is grown on, and the most."""


def report(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    out: str | Path | None = None,
    methods: Sequence[str | tuple[str, Mapping[str, Any]]] | None = None,
    target: TargetLike = None,
    examples: int = EXAMPLES,
    evaluate: bool | Mapping[str, Any] = True,
    names: Sequence[str] | None = None,
    title: str = TITLE,
    board_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    budget_megabytes: float = 5.0,
    progress: Any = None,
) -> Report:
    """Everything on one page: model, data, explanations, their scorecard, board, cost, code.

    `x` is a batch as `explain` takes it. Of more than `examples` samples that many are explained,
    drawn by `default_rng([seed, 70])`, by `methods` (by default up to three that fit the model and
    its inputs and measure different things); a method that fails is named and the others stay.
    Eight of these are judged by the standard, unless `evaluate=False`; a mapping holds options of
    `pellucid.evaluate`. With labels `y`, `pellucid.board` describes how the model behaves on all
    of `x`; `board_options` are its options. `names` are the samples', of all of `x`.

    Returns a `Report`, written to `out` if given. Raises `InputError` for inputs or labels that
    are not for this model, `CapabilityError` where no method can explain it.

    >>> made = report(estimator, table, labels, examples=2, evaluate=False)
    >>> made.data.rows, len(made.study.items), made.board is not None
    (40, 2, True)
    """
    check_seed(seed)
    wrapped = wrap(model, example=x)
    held = replace(wrapped, adapter=wrapped.adapter.for_one_explanation())
    batch = held.accept(x)
    check_feature_names(held, batch)
    _check(names, examples, len(batch))
    labels = None if y is None else check_labels(y, len(batch))
    clock = _Clock()
    notes: list[str] = []
    structure = clock.of("structure", lambda: _structure(wrapped, held, batch, notes))
    rows = _drawn(len(batch), examples, seed)
    if len(rows) < len(batch):
        notes.append(f"{len(rows)} of the {len(batch)} samples are explained, drawn by the seed.")
    asked = list(methods) if methods is not None else fitting(held, batch, seed)
    explainer = Explainer(
        replace(held, preprocess=None), with_background(asked, held, batch, seed),
        seed=int(seed), batch_size=batch_size, progress=progress,
    )  # fmt: skip
    part = held.adapter.as_given(tuple(a[rows] for a in batch.arrays))
    which = target_of_rows(target, rows, len(batch))
    found = clock.of("explanations", lambda: _compared(explainer, part, which, notes))
    if methods is None:
        found = _that_say_something(found, notes)
    card = None
    if evaluate is not False:
        options = {"seed": int(seed), "batch_size": batch_size}
        options |= evaluate if isinstance(evaluate, Mapping) else {}
        card = clock.of(
            "scorecard", lambda: _judged(explainer, batch, rows, found, which, options, notes)
        )
    shown = {name: as_shown(e, batch, rows) for name, e in found.explanations.items()}
    small = clock.of("tree", lambda: _tree(held, batch, seed, batch_size, notes))
    behaviour = None
    if y is not None:
        behaviour = clock.of(
            "board",
            lambda: _board(wrapped, x, y, dict(board_options or {}), seed, batch_size, notes),
        )
    script = script_of(
        x, [_of_the_users(e, wrapped) for e in found.explanations.values()], rows,
        count=len(batch), inputs=len(batch.arrays), asked=asked if methods else None,
        labels=y is not None, seed=int(seed), arguments={
            "target": target, "examples": examples, "evaluate": evaluate, "names": names,
            "title": None if title == TITLE else title, "board_options": board_options,
        },
    )  # fmt: skip
    made = Report(
        study=_study(wrapped, shown, rows, names, labels, title, script, notes, card),
        structure=structure,
        data=data_card(held, batch, y),
        board=behaviour,
        tree=small,
        costs=tuple(clock.costs),
        warnings=_warnings(shown, behaviour),
    )
    if out is not None:
        made.save(out, budget_megabytes=budget_megabytes)
    return made


class _Clock:
    """What each part took, in seconds and in runs of the model."""

    def __init__(self) -> None:
        self.costs: list[Cost] = []

    def of(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        with tallied(Tally()) as tally:
            made = work()
        if made is not None or tally.spent:
            self.costs.append(Cost(name, tally.spent, time.perf_counter() - began))
        return made


def _check(names: Sequence[str] | None, examples: int, count: int) -> None:
    if names is not None and len(names) != count:
        raise InputError(f"Expected a name for each of the {count} samples, got {len(names)}.")
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
        raise InputError(f"Expected examples to be 1 or more, got {examples!r}.")


def _drawn(count: int, examples: int, seed: int) -> np.ndarray:
    if count <= examples:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 70]).permutation(count)[:examples])


def _of_the_users(e: Explanation, wrapped: Model) -> Explanation:
    """`e`, made past the user's preprocessing, as one of the model that has it."""
    return replace(e, provenance={**e.provenance, "preprocess": wrapped.preprocess is not None})


def _structure(wrapped: Model, held: Model, batch: Batch, notes: list[str]) -> Structure | None:
    first = held.adapter.as_given(tuple(a[:1] for a in batch.arrays))
    try:
        return inspect(replace(wrapped, preprocess=None), first)
    except PellucidError as error:
        notes.append(f"How the model is built could not be seen: {str(error).splitlines()[0]}")
        return None


def _compared(explainer: Explainer, part: Any, target: Any, notes: list[str]) -> Comparison:
    """All methods; those that failed are noted. Raises `CapabilityError` where all did."""
    found = explainer.compare(part, target=target)
    if not found.explanations:
        reasons = "\n  ".join(f"{name}: {why}" for name, why in found.failures.items())
        raise CapabilityError(f"None of the methods could explain this model.\n  {reasons}")
    notes += [f"{name}: {why.splitlines()[0]}" for name, why in found.failures.items()]
    return found


def _that_say_something(found: Comparison, notes: list[str]) -> Comparison:
    """Without the methods whose every map is zero, which nobody asked for; all if none is left."""
    empty = {name for name, e in found.explanations.items() if empty_maps(e).all()}
    if not empty or len(empty) == len(found.explanations):
        return found
    for name in sorted(empty):
        why = next((w for w in found.explanations[name].warnings if "zero everywhere" in w), "")
        notes.append(f"{name} is left out, for each of its maps is zero{_reason(why)}.")
    kept = {name: e for name, e in found.explanations.items() if name not in empty}
    return replace(found, explanations=kept)


def _reason(warning: str) -> str:
    said = warning.partition("zero everywhere: ")[2]
    return f": {said}" if said else ""


def _judged(
    explainer: Explainer,
    batch: Batch,
    rows: np.ndarray,
    found: Comparison,
    target: Any,
    options: dict[str, Any],
    notes: list[str],
) -> Any:
    """The scorecard of the first explained samples; None, with a note, where there can be none."""
    few = {name: e[:JUDGED] for name, e in found.explanations.items()}
    if len(rows) > JUDGED:
        notes.append(f"The scorecard is of the first {JUDGED} of the explained samples.")
    as_given = explainer.model.adapter.as_given
    part = as_given(tuple(a[rows[:JUDGED]] for a in batch.arrays))
    which = target_of_rows(target, np.arange(min(JUDGED, len(rows))), len(rows))
    draw = np.random.default_rng([int(options["seed"]), 71]).permutation(len(batch))
    others = np.sort(draw[:JUDGED_AGAINST])
    options = {"background": as_given(tuple(a[others] for a in batch.arrays)), **options}
    try:
        return judge(explainer.model, part, few, target=which, **options)
    except PellucidError as error:
        notes.append(f"The explanations could not be judged: {str(error).splitlines()[0]}")
        return None


def _tree(
    held: Model, batch: Batch, seed: int, batch_size: int | str, notes: list[str]
) -> SurrogateTree | None:
    """A small tree that imitates the model of a table; None for other inputs and few rows."""
    if len(batch.arrays) != 1 or batch.dims[0] != ("sample", "feature") or len(batch) < TREE_ROWS:
        return None
    rows = held.adapter.as_given(batch.arrays)
    try:
        return surrogate_tree(
            replace(held, preprocess=None), rows, max_depth=3, min_rows=5, budget=TREE_MOST,
            seed=int(seed), batch_size=batch_size,
        )  # fmt: skip
    except PellucidError as error:
        notes.append(f"There is no tree that imitates it: {str(error).splitlines()[0]}")
        return None


def _board(
    wrapped: Model,
    x: Any,
    y: Any,
    options: dict[str, Any],
    seed: int,
    batch_size: int | str,
    notes: list[str],
) -> Board | None:
    try:
        return board(wrapped, x, y, **{"seed": seed, "batch_size": batch_size, **options})
    except CapabilityError as error:
        notes.append(f"There is no board of the data: {str(error).splitlines()[0]}")
        return None


def _study(
    model: Model,
    shown: Mapping[str, Explanation],
    rows: np.ndarray,
    names: Sequence[str] | None,
    labels: np.ndarray | None,
    title: str,
    script: str,
    notes: Sequence[str],
    card: Any,
) -> "Study":
    from pellucid.reports.folder import model_facts
    from pellucid.reports.items import Answer, Study, StudyItem

    called = [str(names[r]) for r in rows] if names is not None else [f"sample {r}" for r in rows]
    items = [
        StudyItem(
            name,
            [Answer(f"Why {e.target_names[i]}?", e, i) for e in shown.values()],
            caption="" if labels is None else _label_said(labels[rows[i]]),
        )
        for i, name in enumerate(called)
    ]
    first = next(iter(shown.values()))
    return Study(
        title, items, model_facts(model, first), reproduce=script, notes=notes, scorecard=card
    )


def _label_said(label: Any) -> str:
    value = label.item() if isinstance(label, np.generic) else label
    return f"Its label is {readable(value) if isinstance(value, float) else value}."


def _warnings(shown: Mapping[str, Explanation], behaviour: Board | None) -> tuple[str, ...]:
    said = [f"{name}: {w}" for name, e in shown.items() for w in e.warnings]
    return tuple(dict.fromkeys([*said, *(behaviour.warnings if behaviour is not None else ())]))
