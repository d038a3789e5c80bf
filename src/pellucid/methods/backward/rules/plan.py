"""What each operation of a model gets, found from its inventory before any relevance flows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.adapters.protocol import Operation, OperationInfo
from pellucid.methods.backward.rules.composites import Composite
from pellucid.methods.backward.rules.layout import Layout
from pellucid.methods.backward.rules.linear import Rule, StreamedRule

REFUSED = frozenset("other opaque custom_gradient untracked detached rnn composite".split())
"""Kinds that no rule sees into."""

CLOSED = frozenset({"opaque", "rnn"})
"""Kinds that hold operations of their own: loops, branches, recurrent layers."""

NORMALISED = frozenset({"layer_norm", "rms_norm", "group_norm", "instance_norm"})
_WEIGHTS = frozenset({"convolution", "dense"})
_NONNEGATIVE = frozenset({"relu", "relu6", "sigmoid", "softmax"})
_YIELDING = ("rsqrt", "sigmoid", "bounded", "softmax")
"""What gives its relevance to the factor beside it, the most yielding first."""
_FACTORS = {
    "rsqrt": "rsqrt",
    "sigmoid": "sigmoid",
    **dict.fromkeys(("tanh", "erf", "clip", "relu6"), "bounded"),
    "softmax": "softmax",
}


@dataclass(frozen=True)
class Chain:
    """A layer: an operation with weights, and those after it that add a bias or scale."""

    start: int
    steps: tuple[int, ...]
    rule: Rule
    nonnegative: bool
    last_move: int
    """The last step that moves numbers; -1 where none does."""

    @property
    def end(self) -> int:
        return self.steps[-1] if self.steps else self.start


@dataclass(frozen=True)
class Role:
    """What an operation gets. `name` is the operation's own, to be compared when it happens."""

    rule: str
    info: OperationInfo
    chain: Chain | None = None
    taker: int = -1


@dataclass(frozen=True)
class Plan:
    """The roles of the operations that are not plain, by index.

    `known`: name and path of the operations of the inventory; what is not among them has no rule.
    `zeros`: relevance reaches values that are zero, so that ReLUs have to pass it on. `of_one`: the
    inventory is that of one row, and a run on other rows may do something else.
    """

    roles: dict[int, Role]
    known: dict[int, tuple[str, str]]
    zeros: bool
    of_one: bool = False
    layouts: Mapping[int, Layout] | None = None
    """Where the samples are in what operations return that have an ε; None: not asked for."""

    @property
    def weighed(self) -> frozenset[int]:
        """Operations whose relevance is shared out by a quotient, which ε keeps from zero."""
        return frozenset(
            i
            for i, role in self.roles.items()
            if role.rule in {"halves", "attention"} or (role.chain and i == role.chain.end)
        )

    @property
    def one_by_one(self) -> bool:
        """Whether samples run alone, for it is not known which of a layer's numbers are whose."""
        return self.layouts is not None and not self.weighed <= self.layouts.keys()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of operations to look at, so that recurrent layers are opened too."""
        return REFUSED | {"linear"} | {role.info.kind for role in self.roles.values()}


def rule_of(info: OperationInfo | Operation) -> str | None:
    """The name of the rule for an operation; None where it has none."""
    live = sum(info.live)
    if info.form in {"select", "boolean"}:
        return "plain"  # what was chosen has the relevance, and what is true or false has none
    if info.kind == "linear" and info.form in _WEIGHTS:
        return "weights" if live == 1 else "product"
    if info.kind in {"linear", "bias", "add", "route", "lookup", "softmax"}:
        return "plain"
    if info.kind == "activation" and live == 1:
        return "pass"
    if info.kind == "norm":
        if info.form in {"affine_norm", "euclidean_norm"}:
            return "plain"  # of a root of squares, each input has x² / Σ x² by its derivative
        return "norm" if info.form in NORMALISED else None
    if info.kind == "pool" and info.form in {"maximum", "minimum"}:
        return "plain"
    if info.kind == "attention" and info.form == "dot_product_attention":
        return "attention"
    if info.kind == "mul" and live == 2 and info.form in {"product", "quotient"}:
        return info.form
    if info.kind == "mul" and live == 2 and info.form == "squared_difference":
        return info.form
    return None


def plan_of(infos: Sequence[OperationInfo], composite: Composite, layer: str | None = None) -> Plan:
    """The plan for a model. A chain does not go on where it leaves `layer`.

    Raises `LayerError` for a path of the composite that no layer has.
    """
    flow = _Flow(infos, composite, layer)
    chains = flow.chains()
    composite.require_used(flow.by[c.start].path for c in chains)
    roles: dict[int, Role] = {}
    for chain in chains:
        for i in (chain.start, *chain.steps):
            whole = isinstance(chain.rule, StreamedRule) or i == chain.end
            if whole:
                roles[i] = Role("chain", flow.by[i], chain)
    in_chains = {i for chain in chains for i in (chain.start, *chain.steps)}
    for info in infos:
        if any(info.live) and info.index not in in_chains:
            role = flow.role(info)
            if role is not None:
                roles[info.index] = role
    zeros = any(c.rule.on_zeros and not flow.is_first(c.start) for c in chains)
    if zeros:
        relus = (i for i in infos if i.form == "relu" and any(i.live))
        roles.update((i.index, Role("pass", i)) for i in relus)
    return Plan(roles, {i.index: (i.name, i.path) for i in infos}, zeros)


def rules_by_place(
    infos: Sequence[OperationInfo], composite: Composite, layer: str | None
) -> Mapping[int, str]:
    """The name of the rule that each operation with weights gets, by index."""
    roles = plan_of(infos, composite, layer).roles.values()
    return {role.chain.start: role.chain.rule.name for role in roles if role.chain}


class _Flow:
    """How values go from operation to operation."""

    def __init__(
        self, infos: Sequence[OperationInfo], composite: Composite, layer: str | None
    ) -> None:
        self.by = {info.index: info for info in infos}
        self._composite, self._layer = composite, layer
        self._readers: defaultdict[int, list[int]] = defaultdict(list)
        self._of_input: set[int] = set()
        self._nonnegative: set[int] = set()
        self._factor: dict[int, str] = {}
        for info in infos:
            for source in info.sources:
                self._readers[source].append(info.index)
            self._note(info)
        self._before_weights = self._reaching_weights(infos)

    def _note(self, info: OperationInfo) -> None:
        sources = self._sources(info)
        affine = info.kind in {"route", "bias"} or info.form in {"scale", "affine_norm"}
        if affine and all(s == -1 or s in self._of_input for s in sources):
            self._of_input.add(info.index)
        keeps = info.form in {"move", "maximum", "minimum"} or (
            info.kind in {"route", "add"} and all(info.live)
        )
        if info.form in _NONNEGATIVE or (keeps and self._nonnegative.issuperset(sources)):
            self._nonnegative.add(info.index)
        if info.form in _FACTORS:
            self._factor[info.index] = _FACTORS[info.form]
        elif (affine or info.kind == "route") and len(sources) == 1 and sources[0] in self._factor:
            self._factor[info.index] = self._factor[sources[0]]

    @staticmethod
    def _sources(info: OperationInfo) -> list[int]:
        return [s for s, live in zip(info.sources, info.live, strict=True) if live]

    def _reaching_weights(self, infos: Sequence[OperationInfo]) -> set[int]:
        """Operations after which one with weights still comes.

        What a turn of a loop hands on to the next (-2) may be anything that came before.
        """
        found: set[int] = set()
        handed_on = False
        for info in reversed(infos):
            if handed_on:
                found.add(info.index)
            if info.index in found or info.form in _WEIGHTS:
                found.update(s for s in info.sources if s != -1)
                handed_on = handed_on or -2 in info.sources
        return found

    def is_first(self, start: int) -> bool:
        """Whether no operation with weights, or activation, stands before this one."""
        return all(s == -1 or s in self._of_input for s in self._sources(self.by[start]))

    def chains(self) -> list[Chain]:
        """Every layer with weights, in the order in which they begin."""
        return [
            self._chain(info)
            for info in self.by.values()
            if info.kind == "linear" and info.form in _WEIGHTS and sum(info.live) == 1
        ]

    def _chain(self, info: OperationInfo) -> Chain:
        steps: list[int] = []
        kept, current = 0, info
        while True:
            following = self._next(current)
            if following is None:
                break
            steps.append(following.index)
            current = following
            if following.form != "move":
                kept = len(steps)
        steps = steps[:kept]
        end = steps[-1] if steps else info.index
        kinds = {info.form, "linear"}
        kinds |= {"first"} if self.is_first(info.index) else set()
        kinds |= set() if end in self._before_weights else {"last"}
        moves = [i for i in steps if self.by[i].form == "move"]
        return Chain(
            info.index,
            tuple(steps),
            self._composite.rule(info.path, frozenset(kinds)),
            self._nonnegative.issuperset(self._sources(info)),
            moves[-1] if moves else -1,
        )

    def _next(self, info: OperationInfo) -> OperationInfo | None:
        """The only reader of an operation's value, where it belongs to the same layer."""
        readers = self._readers.get(info.index, [])
        if len(readers) != 1:
            return None
        (reader,) = (self.by[i] for i in readers)
        affine = (
            (reader.kind == "bias" and reader.form != "mirror")
            or (reader.kind == "linear" and reader.form == "scale")
            or reader.form in {"affine_norm", "move"}
        )
        if not affine or sum(reader.live) != 1 or self._sources(reader) != [info.index]:
            return None
        leaves = self._layer is not None and _inside(info.path, self._layer)
        if leaves and not _inside(reader.path, str(self._layer)):
            return None
        return reader

    def role(self, info: OperationInfo) -> Role | None:
        """The role of an operation outside of layers with weights; None for a plain one."""
        rule = rule_of(info)
        if rule is None:
            return Role("none", info)
        if info.index in self._of_input and (
            info.kind == "bias" or info.form in {"scale", "affine_norm"}
        ):
            return Role("shift", info)  # what a preprocessing layer does to the input
        if rule == "pass":
            return None if info.form == "relu" else Role("pass", info)
        if rule == "product":
            return self._product(info)
        if rule == "quotient":
            return Role("one", info, taker=info.live.index(True))
        if rule in {"norm", "attention", "squared_difference"}:
            return Role(rule, info)
        return None

    def _product(self, info: OperationInfo) -> Role:
        places = [i for i, live in enumerate(info.live) if live]
        known = [self._factor.get(info.sources[i]) for i in places]
        yielding = _YIELDING if self._composite.frozen_attention else _YIELDING[:3]
        for word in yielding:
            if (known[0] == word) != (known[1] == word):
                return Role("one", info, taker=places[0 if known[1] == word else 1])
        return Role("halves", info)


def _inside(path: str, layer: str) -> bool:
    layer = layer.partition("#")[0]
    return path == layer or path.startswith((layer + "/", layer + "."))
