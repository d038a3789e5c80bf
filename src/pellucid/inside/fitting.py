"""From what a model says of some rows to the tree that says it too."""

from dataclasses import dataclass, replace

import numpy as np

from pellucid.errors import InputError, TargetError
from pellucid.inside.asked import Asked
from pellucid.inside.surrogate_result import SurrogateTree
from pellucid.methods.inside.drawn import with_drawn
from pellucid.methods.inside.fidelity import (
    TradeOff,
    TradeOffRow,
    best_depth,
    measured,
    with_fresh,
)
from pellucid.methods.inside.imitation import Examples, grown
from pellucid.methods.inside.questions import Nodes
from pellucid.methods.inside.rule_list import listed
from pellucid.methods.inside.sizes import Size
from pellucid.running.outputs import single_output
from pellucid.task import Task
from pellucid.types import Outputs, TargetLike, shape_of


@dataclass(frozen=True)
class Form:
    """What is grown: a tree of at most this size, or a list of so many `rules` of that depth.

    An `automatic` tree has the depth found best up to that of the size.
    """

    size: Size
    automatic: bool = False
    rules: int = 0

    def grown(self, learned: Examples, level: int, seed: int) -> Nodes:
        """The tree of that depth, or the list of so many rules."""
        if self.rules:
            return listed(learned, self.size, seed, most=level)
        return grown(learned, replace(self.size, depth=level), seed)


@dataclass(frozen=True)
class Imitated:
    """What the model says of each row: the number of a class of `classes`, or a score.

    `numbers` are the model's own numbers of these classes, those that it predicts somewhere.
    `border` is the output above which the second of two is predicted.
    """

    said: np.ndarray
    classes: tuple[str, ...]
    numbers: np.ndarray
    name: str
    explained: str
    border: float | None = None


def said_by(
    task: Task, outputs: Outputs, target: TargetLike, *, known: Imitated | None = None
) -> Imitated:
    """What the model says by its outputs; `known` is what it said of the rows before these.

    Raises `InputError` where it says the same of all, `TargetError` where what is explained differs
    from row to row.
    """
    names = task.wrapped.class_names
    outputs = single_output(outputs)
    shape = shape_of(outputs)
    several = len(shape) == 2 and shape[1] > 1
    two = len(shape) in {1, 2} and not several and names is not None and len(names) == 2
    if target is None and (several or two):
        return _classes(task, outputs, names, known)
    if len(set(task.target.names)) > 1:
        raise TargetError("A tree imitates one score of all rows: name one target for all.")
    said = task.scores_of(outputs, np.zeros(shape[0], dtype=np.int64))[0]
    if known is None and np.ptp(said) <= 1e-9 * max(np.abs(said).max(), 1e-30):
        raise InputError(
            f"The model says {said[0]:.4g} of all {len(said)} rows: there is nothing to imitate.\n"
            "  Give rows that differ in what it says of them, or another target."
        )
    explained = task.wrapped.explained(task.x)
    return Imitated(said, (), np.arange(0), task.target.names[0], explained)


def _classes(
    task: Task, outputs: Outputs, names: tuple[str, ...] | None, known: Imitated | None
) -> Imitated:
    found = task.to_numpy(outputs).astype(np.float64)
    border = None if known is None else known.border
    if found.ndim == 2 and found.shape[1] > 1:
        chosen = found.argmax(axis=1)
    else:
        # Decided once: held-out rows may all lie within 0 and 1 where the others do not.
        border = _border(task, found) if border is None else border
        chosen = (found.reshape(-1) > border).astype(np.int64)
    numbers = np.unique(chosen) if known is None else known.numbers
    if known is None and len(numbers) < 2:
        only = names[numbers[0]] if names else f"class {numbers[0]}"
        raise InputError(
            f"The model predicts {only!r} for all {len(chosen)} rows: there is nothing to imitate."
            "\n  Give rows of which it predicts more than one class, or imitate a score:"
            f" target={only if names else int(numbers[0])!r}."
        )
    strange = np.setdiff1d(chosen, numbers)
    if len(strange):
        raise InputError(
            f"The model predicts class {strange[0]} for held-out rows and for none of the others:"
            " a tree cannot have learned it."
        )
    told = tuple(names[n] if names else f"class {n}" for n in numbers)
    said = np.searchsorted(numbers, chosen)
    return Imitated(said, told, numbers, "the predicted class", "class", border)


def _border(task: Task, outputs: np.ndarray) -> float:
    """Above which number the second of two classes is predicted."""
    explained = task.wrapped.explained(task.x)
    if explained == "output":  # of a plain function nobody knows; a share of one is a probability
        shares = outputs.min() >= 0 and outputs.max() <= 1
        return 0.5 if shares else 0.0
    return 0.5 if explained == "probability" else 0.0


def fitted(
    task: Task,
    asked: Asked,
    imitated: Imitated,
    learned: Examples,
    fresh: Examples,
    form: Form,
    own: Nodes | None = None,
) -> SurrogateTree:
    """The tree (or list of rules) of that form, with all that is told of it.

    `own` are the nodes of a model that is such a tree itself.
    """
    if form.automatic and own is None:
        depth = max(1, best_depth(learned, form.size, task.seed))
        form = replace(form, size=replace(form.size, depth=depth))
    trade_off, nodes = _trade_off(learned, fresh, form, task.seed, imitated.classes, own)
    fidelity = measured(nodes, fresh, learned.values(), task.seed, names=imitated.classes)
    return SurrogateTree(
        kind="classification" if imitated.classes else "regression",
        nodes=with_drawn(with_fresh(nodes, fresh), learned, asked.picture),
        columns=asked.names,
        classes=imitated.classes,
        target_name=imitated.name,
        explained=imitated.explained,
        fidelity=fidelity,
        trade_off=trade_off,
        rows=(len(learned), len(fresh)),
        evaluations=task.model.evaluations,
        seed=task.seed,
        read=asked.read,
    )


def _trade_off(
    learned: Examples,
    fresh: Examples,
    form: Form,
    seed: int,
    names: tuple[str, ...],
    own: Nodes | None,
) -> tuple[TradeOff, Nodes]:
    rows, nodes = [], ()
    deepest = form.rules or form.size.depth
    if own is not None:
        deepest = max(node.depth for node in own)
    for depth in range(deepest + 1):
        last = own is not None and depth == deepest
        nodes = own if own is not None and last else form.grown(learned, depth, seed)
        leaves = sum(node.leaf for node in nodes)
        if rows and not last and leaves == rows[-1].leaves:  # deeper ones are the same tree
            if own is None:
                break
            continue
        found = measured(nodes, fresh, learned.values(), seed, names=names)
        rows.append(TradeOffRow(depth, leaves, found.value, found.low, found.high, found.balanced))
    measure = "r2" if not learned.classes else "accuracy"
    return TradeOff(tuple(rows), rows[-1].depth, measure), nodes
