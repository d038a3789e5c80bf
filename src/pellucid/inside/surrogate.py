"""A small tree that imitates a model, and how far it can be believed."""

from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.engine.schedule import Progress
from pellucid.errors import InputError
from pellucid.explaining.preparing import prepare
from pellucid.inputs.frames import is_frame
from pellucid.inside.asked import Asked, asked_of_table, columns_named, of_array, of_frame
from pellucid.inside.concepts import (
    channels_of_layer,
    colours_of_cells,
    pieces_of_picture,
    spatial,
)
from pellucid.inside.fitting import Form, Imitated, fitted, said_by
from pellucid.inside.surrogate_result import SurrogateTree
from pellucid.methods.inside.fidelity import split
from pellucid.methods.inside.imitation import Examples
from pellucid.methods.inside.own_tree import nodes_of
from pellucid.methods.inside.questions import Nodes
from pellucid.methods.inside.sizes import FEWEST, check_share, checked_size, whole
from pellucid.task import Task
from pellucid.types import TargetLike

_RULES = 10
_SAMPLE = 63


def surrogate_tree(
    model: Any,
    x: Any,
    *,
    target: TargetLike = None,
    features: Any = None,
    layer: str | None = None,
    max_depth: int | str = 4,
    max_leaves: int | None = None,
    min_rows: int = 1,
    held_out: Any = 0.3,
    rules: bool | int = False,
    budget: int | None = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> SurrogateTree:
    """A decision tree that says what the model says, with its fidelity on rows it has not seen.

    tree = argmin over small trees t of Σ_i loss(t(x_i), f(x_i)), greedily (CART)

    `x` is a table: a data frame (words are categories, missing values stay missing, all in its own
    units) or an array. Without `target` the tree imitates which class is predicted (Gini's
    impurity); of two classes with one output, the second is where a logit is above 0, a probability
    above ½. With a `target`, and of a model with one output without class names, it imitates the
    score (least squares). `features` names the columns that may be asked about (all), or is a table
    of your own, a row a sample, to ask about instead. `max_depth` may be "auto": the smallest depth
    up to 8 within one standard error of the best, by cross-validation over the rows to learn from.
    `max_leaves`, and `min_rows` of a leaf, keep it smaller. With `rules` (how many, True: 10) it is
    a list instead, of which the first rule that holds decides, each of `max_depth` conditions at
    most. `held_out` is a share of the rows, of
    each class alike (`default_rng([seed, 60])`), or a table of rows of their own. `budget` is how
    many rows are asked about at most, drawn by `default_rng([seed, 63])`. Cost: one forward a row.

    *Pictures and series:* a data set of them is asked about the mean colours of cells, as they are
    shown (`features`, "grid:4"), or with `layer` about the means of a layer's channels (one more
    forward); one picture alone about which of its pieces are there (`features`,
    "superpixels:20"), by `budget` (1 000) changed copies, nearer ones more often
    (`default_rng([seed, 64])`), of which the score of its predicted class is imitated.

    A scikit-learn model that is a single decision tree of at most this size is imitated by its own
    questions, and so exactly: leaves that no row ends in are asked about by a row made for each,
    and branches that say the same are one leaf.

    Returns a `SurrogateTree`. It describes what the model does over these rows, not how; where
    columns go together it may ask about another one than the model does. Departs from Trepan in
    that it asks about real rows only.
    Source: Craven & Shavlik 1996; CART: Breiman et al. 1984; fidelity: Guidotti et al. 2018.

    Raises `InputError` for fewer than 10 rows, an unknown column, one class predicted everywhere, a
    constant score; `MissingExtraError` without scikit-learn.

    >>> tree = surrogate_tree(model, table, max_depth=2)
    >>> tree.nodes[0].questions[0].name
    'dose'
    """
    size = checked_size(max_depth, max_leaves, min_rows)
    _check_options(held_out, budget)
    form = Form(size, automatic=max_depth == "auto", rules=_checked_rules(rules, max_depth))
    places, rows = np.arange(0), 0

    def choose(count: int) -> np.ndarray:
        nonlocal places, rows
        places, rows = _sampled(count, budget, seed), count
        return places

    task = prepare(model, x, target, seed=seed, batch_size=batch_size, progress=progress,
                   each_predicted=True, choose=choose)  # fmt: skip
    if len(places) == 1:
        return _of_one_picture(task, features, layer, form, held_out, budget)
    asked = _asked(task, x, features, layer, places, rows)
    imitated = said_by(task, task.outputs, target)
    learned, fresh = _parts(task, asked, imitated, held_out, target)
    alone = features is None and layer is None and not form.rules
    own = _own(task, asked, imitated, learned, form, target) if alone else None
    return fitted(task, asked, imitated, learned, fresh, form, own)


def _own(
    task: Task, asked: Asked, imitated: Imitated, learned: Examples, form: Form, target: TargetLike
) -> Nodes | None:
    """The nodes of a model that is a tree of that size itself, asked the same columns."""
    wrapped = task.wrapped
    tree = wrapped.adapter.own_tree
    if tree is None or wrapped.preprocess is not None or any(asked.words):
        return None

    def said(rows: np.ndarray) -> np.ndarray:
        form = wrapped.adapter.as_given((rows.astype(task.batch.arrays[0].dtype),))
        outputs = task.outputs_of(wrapped.accept(form, more=True).leaves)
        return said_by(task, outputs, target, known=imitated).said

    return nodes_of(tree, learned, form.size, said)


def _checked_rules(rules: Any, depth: Any) -> int:
    """How many rules a list may have; 0 for a tree."""
    if rules is False:
        return 0
    if depth == "auto" or not (rules is True or whole(rules, 1)):
        raise InputError(
            f"Expected rules to be True or 1 or more, with a number as max_depth, got {rules!r} and"
            f" max_depth={depth!r}."
        )
    return _RULES if rules is True else int(rules)


def _check_options(held_out: Any, budget: Any) -> None:
    if isinstance(held_out, int | float):
        check_share(held_out)
    if budget is not None and not whole(budget, FEWEST):
        raise InputError(f"Expected a budget of {FEWEST} rows or more, got {budget!r}.")


def _sampled(count: int, budget: int | None, seed: int) -> np.ndarray:
    """The numbers of the rows that are asked about."""
    if 1 < count < FEWEST:
        raise InputError(
            f"A tree learns from a table of {FEWEST} rows or more, got {count}.\n  explain() says"
            " why the model says what it says of single rows."
        )
    if budget is None or count <= budget:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, _SAMPLE]).permutation(count)[:budget])


def _of_one_picture(
    task: Task,
    features: Any,
    layer: str | None,
    form: Form,
    held_out: Any,
    budget: int | None,
) -> SurrogateTree:
    """The tree of changed copies of a single picture."""
    if not spatial(task) or layer is not None or not isinstance(held_out, int | float):
        raise InputError(
            f"A tree learns from a table of {FEWEST} rows or more, got 1.\n  Of one picture alone"
            " it asks which pieces are there, and holds out a share of its changed copies."
        )
    asked, scores = pieces_of_picture(task, features, budget)
    explained = task.wrapped.explained(task.x)
    imitated = Imitated(scores, (), np.arange(0), task.target.names[0], explained)
    if np.ptp(scores) <= 1e-9 * max(np.abs(scores).max(), 1e-30):
        raise InputError(f"The model says {scores[0]:.4g} of all changed copies of this picture.")
    learned, fresh = _parts(task, asked, imitated, held_out, None)
    return fitted(task, asked, imitated, learned, fresh, form)


def _asked(
    task: Task, x: Any, features: Any, layer: str | None, places: np.ndarray, rows: int
) -> Asked:
    """What the tree may ask about."""
    if layer is not None:
        found = channels_of_layer(task, layer)
        return found if features is None else found.only(columns_named(found, features))
    own = is_frame(features) or (
        isinstance(features, np.ndarray) and features.ndim == 2 and not spatial(task)
    )
    if own:
        if len(features) != rows:
            raise InputError(
                f"Expected features to have a row for each of the {rows} samples, got"
                f" {len(features)}."
            )
        if is_frame(features):
            return of_frame(features, places)
        return of_array(features[places], None, "concept")
    if spatial(task):
        return colours_of_cells(task, features)
    asked = asked_of_table(task, x, places)
    return asked if features is None else asked.only(columns_named(asked, features))


def _parts(
    task: Task, asked: Asked, imitated: Imitated, held_out: Any, target: TargetLike
) -> tuple[Examples, Examples]:
    """The rows to learn from, and those to measure on."""
    classes = len(imitated.classes)
    examples = Examples(asked.table, imitated.said, asked.names, asked.words, classes,
                        asked.presence)  # fmt: skip
    if isinstance(held_out, int | float):
        learned, held = split(examples, float(held_out), task.seed)
        return examples.rows(learned), examples.rows(held)
    leaves = task.wrapped.accept(held_out, more=True).leaves
    outputs = task.outputs_of(leaves)
    fresh = said_by(task, outputs, target, known=imitated)
    table = asked.read(held_out)
    if len(table) != len(fresh.said):
        raise InputError("held_out= has to be rows of the table that the tree asks about.")
    return examples, replace(examples, table=table, said=fresh.said)
