"""A surrogate tree in words: rules as sentences, an indented text, and plain data."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.methods.inside.questions import Node, Question, statements
from pellucid.plain import readable
from pellucid.shares import wilson

if TYPE_CHECKING:
    from pellucid.inside.surrogate_result import SurrogateTree

_NAMED = 6


@dataclass(frozen=True)
class Rule:
    """One leaf as a sentence: `conditions` that all hold, and what is `said` then.

    `coverage` is the share of the held-out rows that it decides, `precision` the share of those of
    which the model says the same, with its 95 % interval (Wilson); of a score `error` is the root
    mean square error there, and `spread` the standard deviation among the rows it learned from. NaN
    where no held-out row comes here.
    """

    conditions: tuple[str, ...]
    said: str | float
    count: int
    held_out: int
    coverage: float
    precision: float
    low: float
    high: float
    error: float
    spread: float
    leaf: int
    otherwise: bool = False

    @property
    def sentence(self) -> str:
        """If ..., then ..."""
        said = readable(self.said)
        if not self.conditions:
            return f"{'Otherwise' if self.otherwise else 'Always'}: {said}"
        head = "Else if" if self.otherwise else "If"
        return f"{head} {' and '.join(self.conditions)}: {said}"

    def __str__(self) -> str:
        reach = f"{self.coverage:.0%} of held-out rows"
        if self.held_out == 0:
            return f"{self.sentence}  [no held-out row, {self.count} learned from]"
        if isinstance(self.said, str):
            spread = f"{self.precision:.0%} ({self.low:.0%} to {self.high:.0%}) of them right"
        else:
            spread = f"off by {readable(self.error)} (root mean square)"
        return f"{self.sentence}  [{reach}, {spread}]"


def rule_of(tree: "SurrogateTree", leaf: int) -> Rule:
    """The rule of one leaf."""
    node = tree.nodes[leaf]
    parent = next((n for n in tree.nodes if leaf in (n.yes, n.no)), None)
    later = parent is not None and parent.listed and (parent.number > 0 or parent.no == leaf)
    share, low, high = float("nan"), float("nan"), float("nan")
    if tree.classes and node.fresh:
        share = node.right / node.fresh
        low, high = map(float, wilson(node.right, node.fresh))
    return Rule(
        conditions=tuple(map(str, statements(tree.nodes, leaf))),
        said=said_at(tree, node),
        count=node.count,
        held_out=node.fresh,
        coverage=node.fresh / max(tree.rows[1], 1),
        precision=share,
        low=low,
        high=high,
        error=node.error,
        spread=float("nan") if tree.classes else float(node.values[1]),
        leaf=leaf,
        otherwise=later,
    )


def said_at(tree: "SurrogateTree", node: Node) -> str | float:
    """What the tree would say if it stopped at a node."""
    return tree.classes[int(node.values.argmax())] if tree.classes else float(node.values[0])


def as_text(tree: "SurrogateTree") -> str:
    """What it imitates and how well, and the tree, a line a node, indented by depth."""
    size = f"{len(tree.leaves)} leaves, depth {tree.depth}"
    if tree.nodes[0].listed:
        size = f"{len(tree.leaves) - 1} rules, the first that holds decides"
    head = [f"{tree.title}: {size}", str(tree.fidelity)]
    if tree.fidelity.warning:
        head.append(tree.fidelity.warning)
    lines: list[str] = []
    _write(tree, tree.nodes[0], "", "", lines)
    return "\n".join([*head, *lines])


def _write(
    tree: "SurrogateTree", node: Node, indent: str, statement: str, lines: list[str]
) -> None:
    if node.leaf:
        lines.append(f"{indent}{statement}{': ' if statement else ''}{_leaf(tree, node)}")
        return
    if statement:
        lines.append(f"{indent}{statement}")
        indent += "    "
    _write(tree, tree.nodes[node.yes], indent, " and ".join(map(_shown, node.questions)), lines)
    opposite = _shown(~node.questions[0]) if len(node.questions) == 1 else "otherwise"
    rest = tree.nodes[node.no]
    if node.listed and not rest.leaf:
        _write(tree, rest, indent, "", lines)
    else:
        _write(tree, rest, indent, "otherwise" if node.listed else opposite, lines)


def _shown(question: Question) -> str:
    return question.words_for(_NAMED)


def _leaf(tree: "SurrogateTree", node: Node) -> str:
    if tree.classes:
        share = node.values.max() / max(node.count, 1)
        return f"{said_at(tree, node)} ({share:.0%} of {_rows(node.count)})"
    mean, spread = map(float, node.values)
    return f"{readable(mean)} ± {readable(spread)} ({_rows(node.count)})"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def as_dict(tree: "SurrogateTree") -> dict[str, Any]:
    """The tree as JSON can hold it; a number that is none is null."""
    found = {
        "kind": tree.kind,
        "imitates": tree.target_name,
        "explained": tree.explained,
        "columns": list(tree.columns),
        "classes": list(tree.classes),
        "rows": {"learned": tree.rows[0], "held_out": tree.rows[1]},
        "fidelity": asdict(tree.fidelity)
        | {"skill": tree.fidelity.skill, "verdict": tree.fidelity.verdict},
        "warning": tree.fidelity.warning,
        "trade_off": [asdict(row) for row in tree.trade_off],
        "nodes": [_node(tree, node) for node in tree.nodes],
        "rules": [asdict(rule) | {"sentence": rule.sentence} for rule in tree.rules()],
        "evaluations": tree.evaluations._asdict(),
        "seed": tree.seed,
    }
    return _clean(found)


def _node(tree: "SurrogateTree", node: Node) -> dict[str, Any]:
    questions = [
        {"column": tree.columns[q.column], "threshold": q.threshold, "categories": list(q.words),
         "missing": q.missing, "negated": q.negated, "words": str(q)}
        for q in node.questions
    ]  # fmt: skip
    return {
        "number": node.number, "depth": node.depth, "rows": node.count,
        "values": node.values.tolist(), "says": said_at(tree, node), "questions": questions,
        "yes": node.yes if node.questions else None, "no": node.no if node.questions else None,
        "held_out": node.fresh, "right": node.right, "error": node.error,
    }  # fmt: skip


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
