"""The result of imitating a model by a small tree, in words, numbers and a picture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.inside.surrogate_words import Rule, as_dict, as_text, rule_of
from pellucid.methods.inside.fidelity import Fidelity, TradeOff
from pellucid.methods.inside.questions import Node, Nodes, contributions, leaves_of, outcomes
from pellucid.types import Evaluations


@dataclass(frozen=True, eq=False)
class SurrogateTree:
    """A small tree that says what a model says, made by `surrogate_tree`.

    `nodes` come parents first; `classes` are those that the model predicts somewhere, empty where a
    score is imitated, in units of the explained score. `fidelity` is measured on rows that the tree
    has not seen, `trade_off` says what each level buys, and `rows` are how many it learned from and
    how many were held out.
    """

    kind: str
    """"classification" or "regression"."""
    nodes: Nodes
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    target_name: str
    explained: str
    fidelity: Fidelity
    trade_off: TradeOff
    rows: tuple[int, int]
    evaluations: Evaluations
    seed: int
    read: Callable[[Any], np.ndarray] = field(repr=False)

    @property
    def depth(self) -> int:
        """The most questions asked of a row."""
        return max(node.depth for node in self.nodes)

    @property
    def leaves(self) -> tuple[Node, ...]:
        """The nodes that answer."""
        return tuple(node for node in self.nodes if node.leaf)

    @property
    def title(self) -> str:
        """What is imitated."""
        kind = "A list of rules" if self.nodes[0].listed else "A tree"
        if self.classes:
            return f"{kind} that imitates {self.target_name}"
        return f"{kind} that imitates {self.score_name}"

    @property
    def score_name(self) -> str:
        """The score that is imitated, in words."""
        alone = self.target_name == "the output"
        return f"the {self.explained}" if alone else f"the {self.explained} of {self.target_name}"

    def apply(self, x: Any) -> np.ndarray:
        """The number of the leaf that each row ends in, `(n,)`; `x` as it was for the model."""
        return leaves_of(self.nodes, self.read(x))

    def predict(self, x: Any) -> np.ndarray:
        """What the tree says of each row, `(n,)`: the name of a class, or a score."""
        said = outcomes(self.nodes, classes=bool(self.classes))[self.apply(x)]
        return np.array(self.classes)[said] if self.classes else said

    def path(self, x: Any, i: int = 0) -> Rule:
        """The sentence that decides row `i` of `x`.

        Raises `InputError` where there is no such row.
        """
        leaves = self.apply(x)
        whole = isinstance(i, int | np.integer) and not isinstance(i, bool)
        if not whole or not -len(leaves) <= i < len(leaves):
            raise InputError(f"No row {i!r} among {len(leaves)}: expected 0 to {len(leaves) - 1}.")
        return rule_of(self, int(leaves[i]))

    def contributions(self, x: Any) -> np.ndarray:
        """What each column moves the tree's answer by for each row, `(n, columns)` float64.

        They add up to what the tree says of the row less what it says at its root: to its score
        less the mean score, of classes to the share, among the rows it learned from, of the class
        that it says. They explain the tree, and the model only as far as `fidelity` goes; where a
        column is asked about late, more is left to it than Shapley values would leave (Saabas
        2014; Lundberg et al. 2020, section 2).
        """
        return contributions(self.nodes, self.read(x), classes=bool(self.classes))

    def rules(self) -> tuple[Rule, ...]:
        """Each leaf as a sentence with its coverage and precision on held-out rows, in order."""
        found: list[Rule] = []
        waiting = [0]
        while waiting:
            node = self.nodes[waiting.pop()]
            if node.leaf:
                found.append(rule_of(self, node.number))
            else:
                waiting += [node.no, node.yes]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return as_dict(self)

    def plot(self, **options: Any) -> Any:
        """Draw the tree with the data at each node; Axes, never shown.

        See `pellucid.plots.tree`.
        """
        from pellucid.plots.tree import tree

        return tree(self, **options)

    def to_svg(self, **options: Any) -> str:
        """The same drawing as SVG, made without any program or library.

        See `pellucid.plots.tree_svg`.
        """
        from pellucid.plots.tree_svg import tree_svg

        return tree_svg(self, **options)

    def to_html(self, **options: Any) -> str:
        """The drawing with the rules and the trade-off below it, without scripts."""
        from pellucid.plots.tree_svg import tree_html

        return tree_html(self, **options)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        """What it is, in one line."""
        return f"<SurrogateTree: {len(self.leaves)} leaves, {self.fidelity}>"

    def __str__(self) -> str:
        return as_text(self)
