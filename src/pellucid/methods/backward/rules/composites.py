"""Which rule a layer gets, as data: presets by kind, a user's own by kind and path."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pellucid.errors import InputError, LayerError, quote_close
from pellucid.methods.backward.rules.linear import Epsilon, Norm, Pass, Rule
from pellucid.methods.backward.rules.signed import AlphaBeta, Box, Flat, Gamma, WSquare, ZPlus

RULES: Mapping[str, type[Rule]] = {
    rule.name: rule for rule in (Epsilon, Gamma, AlphaBeta, ZPlus, Box, Flat, WSquare, Pass, Norm)
}

PRESETS: Mapping[str, Mapping[str, str]] = {
    "epsilon": {"linear": "epsilon"},
    "epsilon_plus": {"convolution": "z_plus", "dense": "epsilon"},
    "epsilon_plus_flat": {"first": "flat", "convolution": "z_plus", "dense": "epsilon"},
    "epsilon_alpha2_beta1": {"convolution": "alpha_beta:2,1", "dense": "epsilon"},
    "epsilon_alpha2_beta1_flat": {
        "first": "flat", "convolution": "alpha_beta:2,1", "dense": "epsilon",
    },
    "epsilon_gamma": {"convolution": "gamma:0.25", "dense": "epsilon"},
    "epsilon_gamma_box": {"first": "box", "convolution": "gamma:0.25", "dense": "epsilon"},
    "deep_taylor": {"first": "w_square", "linear": "z_plus"},
    "deep_taylor_box": {"first": "box", "linear": "z_plus"},
    "excitation": {"linear": "z_plus:0"},
    "attnlrp": {"linear": "epsilon", "attention": "halves"},
    "cp_lrp": {"linear": "epsilon", "attention": "frozen"},
}  # fmt: skip
"""Kind of layer -> rule, the first that fits. `first`: no layer with weights stands before it;
`last`: none after it; `linear`: any. Numbers after the colon are the rule's own."""

KINDS = ("first", "last", "convolution", "dense", "linear")


@dataclass(frozen=True)
class Composite:
    """Rules in the order in which they are tried, and what happens to attention weights."""

    name: str
    entries: tuple[tuple[str, Rule], ...]
    frozen_attention: bool = False

    def rule(self, path: str, kinds: frozenset[str]) -> Rule:
        """The rule of a layer at `path` that is of these kinds; epsilon where none fits."""
        for pattern, rule in self.entries:
            fits = pattern in kinds if pattern in KINDS else fnmatch.fnmatchcase(path, pattern)
            if fits:
                return rule
        return Epsilon()

    def require_used(self, paths: Iterable[str]) -> None:
        """Raise `LayerError` for a path of the mapping that is none of `paths`, the layers'."""
        known = list(dict.fromkeys(paths))
        for pattern, _ in self.entries:
            if pattern in KINDS or any(fnmatch.fnmatchcase(p, pattern) for p in known):
                continue
            what = "pattern" if any(c in pattern for c in "*?[") else "path"
            raise LayerError(
                f"The composite's {what} {pattern!r} fits none of the {len(known)} layers with"
                f" weights, so its rule would not be used.\n  {quote_close(pattern, known)}"
                f" Kinds of layers are {', '.join(KINDS)}."
            )

    @property
    def bounded(self) -> bool:
        """Whether it asks for the bounds of the input."""
        return any(isinstance(rule, Box) for _, rule in self.entries)


def composite_of(given: str | Mapping[str, str]) -> Composite:
    """A preset by name, or the user's own mapping from kinds and paths to rules.

    Raises `InputError` for a name or rule that does not exist.
    """
    if isinstance(given, str):
        if given not in PRESETS:
            raise InputError(
                f"No composite {given!r}; there are {', '.join(PRESETS)}.\n"
                '  A mapping such as {"conv*": "gamma:0.25", "dense": "epsilon"} is one, too.'
            )
        name, mapping = given, PRESETS[given]
    elif isinstance(given, Mapping) and given:
        name, mapping = "own", given
    else:
        raise InputError(f"Expected a composite's name or a mapping to rules, got {given!r}.")
    attention = mapping.get("attention", "halves")
    if attention not in {"halves", "frozen"}:
        raise InputError(f'Expected "halves" or "frozen" for attention, got {attention!r}.')
    entries = tuple((k, rule_named(v)) for k, v in mapping.items() if k != "attention")
    return Composite(name, entries, attention == "frozen")


def rule_named(text: str) -> Rule:
    """A rule from its name and numbers; beta is alpha − 1 where it is left out.

    Raises `InputError` for a rule that does not exist, or numbers that it cannot have.

    >>> rule_named("alpha_beta:2,1")
    AlphaBeta(alpha=2.0, beta=1.0, bias=True)
    """
    name, _, numbers = str(text).partition(":")
    if name not in RULES:
        raise InputError(f"No rule {name!r}; there are {', '.join(RULES)}.")
    kind = RULES[name]
    places = list(fields(kind))  # type: ignore[arg-type]
    given = [n for n in numbers.split(",") if n.strip()]
    if len(given) > len(places):
        raise InputError(f"The rule {name} takes {len(places)} numbers at most, got {text!r}.")
    values: dict[str, Any] = {}
    for place, number in zip(places, given, strict=False):
        try:
            value = float(number)
        except ValueError as error:
            raise InputError(f"Expected numbers after the colon, got {text!r}.") from error
        if kind is not Box and not 0 <= value < float("inf"):
            raise InputError(f"Expected {place.name} of 0 or more, got {text!r}.")
        values[place.name] = bool(value) if place.name == "bias" else value
    if kind is AlphaBeta and list(values) == ["alpha"]:
        if values["alpha"] < 1:
            raise InputError(f"Expected alpha of 1 or more, got {text!r}: beta is alpha − 1.")
        values["beta"] = values["alpha"] - 1
    made = kind(**values)
    if isinstance(made, AlphaBeta) and made.bias and abs(made.alpha - made.beta - 1) > 1e-6:
        raise InputError(f"Expected alpha − beta = 1, got {text!r}: relevance would not be kept.")
    return made
