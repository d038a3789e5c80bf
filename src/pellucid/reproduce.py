"""The Python that makes an explanation again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.explanation import Explanation

_OF_EXPLAIN = ("layer", "baseline", "features", "budget", "tolerance")


def reproduce(e: Explanation) -> str:
    """Code that, run where `model` and `x` are what they were, gives the same values.

    A model that was loaded from a file is loaded again; parameters that are arrays appear as
    variables to be filled in.
    """
    lines = [
        f"# {e.method} with pellucid {e.provenance['versions']['pellucid']},"
        f" {e.provenance['framework']} model {e.provenance['fingerprint']}",
        "import pellucid",
        "",
    ]
    source = e.provenance.get("source")
    if source:
        lines.append(f"model = pellucid.load({source!r})")
    arguments = [repr(e.method), f"target={_target(e)}", f"seed={e.seed}"]
    arguments += [f"{k}={_code(k, v)}" for k, v in ordered(e.parameters) if v is not None]
    lines.append(f"explanation = pellucid.explain(model, x, {', '.join(arguments)})")
    return "\n".join(lines) + "\n"


def ordered(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Parameters of `explain` first, the method's own after them."""
    own = [(k, v) for k, v in parameters.items() if k not in _OF_EXPLAIN]
    return [(k, parameters[k]) for k in _OF_EXPLAIN if k in parameters] + own


def _target(e: Explanation) -> str:
    if e.target is None:
        single = e.outputs is not None and e.outputs.shape[1] == 1
        return (
            "None"
            if single
            else e.target_names[0]
            if e.target_names[0].isidentifier()
            else "target"
        )
    target = np.asarray(e.target)
    if target.ndim == 2:
        pairs = [tuple(int(i) for i in pair) for pair in target]
        return repr(pairs[0]) if len(set(pairs)) == 1 else repr(pairs)
    numbers = [int(i) for i in target]
    return repr(numbers[0]) if len(set(numbers)) == 1 else repr(numbers)


def _code(name: str, value: Any) -> str:
    plain = value is None or isinstance(value, str | int | float | bool)
    if plain and not (isinstance(value, str) and value.startswith("array of shape")):
        return repr(value)
    if isinstance(value, tuple | list) and all(isinstance(v, str | int | float) for v in value):
        return repr(value)
    return name
