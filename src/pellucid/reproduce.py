"""The Python that makes an explanation again."""

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

import numpy as np

from pellucid.explanation import Explanation

_OF_EXPLAIN = ("layer", "baseline", "features", "budget", "tolerance")


def reproduce(e: Explanation) -> str:
    """Code that, run where `model` and `x` are what they were, gives the same values.

    A model that was loaded from a file is loaded again; parameters that are arrays, and what the
    model was wrapped with (a preprocessing function, class names), appear as names to be filled in.
    """
    known = e.provenance
    about = (
        f"{e.method} with pellucid {known['versions']['pellucid']},"
        f" {known['framework']} model {known['fingerprint']}"
    )
    # Results come from files too: nothing of theirs may leave a comment or a string.
    lines = ["# " + "".join(c if c.isprintable() else " " for c in about), "import pellucid", ""]
    options = [f"output={known['output']!r}"] if known.get("output", "auto") != "auto" else []
    options += ["preprocess=preprocess"] if known.get("preprocess") else []
    options += ["class_names=class_names"] if e.class_names else []
    source = known.get("source")
    if source:
        lines.append(f"model = pellucid.load({', '.join([repr(str(source)), *options])})")
    elif options:
        lines.append(f"# model = pellucid.wrap(model, {', '.join(options)})")
    arguments = [repr(e.method), f"target={_target(e)}", f"seed={int(e.seed)}"]
    arguments += [
        f"{k}={code_of(k, v)}"
        for k, v in ordered(e.parameters)
        if v is not None and k.isidentifier() and not iskeyword(k)
    ]
    lines.append(f"explanation = pellucid.explain(model, x, {', '.join(arguments)})")
    return "\n".join(lines) + "\n"


def ordered(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Parameters of `explain` first, the method's own after them."""
    own = [(k, v) for k, v in parameters.items() if k not in _OF_EXPLAIN]
    return [(k, parameters[k]) for k in _OF_EXPLAIN if k in parameters] + own


def _target(e: Explanation) -> str:
    if e.target is None:
        return _without_number(e)
    target = np.asarray(e.target)
    if target.ndim == 2:
        pairs = [tuple(int(i) for i in pair) for pair in target]
        return repr(pairs[0]) if len(set(pairs)) == 1 else repr(pairs)
    numbers = [int(i) for i in target]
    return repr(numbers[0]) if len(set(numbers)) == 1 else repr(numbers)


def _without_number(e: Explanation) -> str:
    """The target of a model with one output, or the name of the function that was the target."""
    names = e.target_names
    if e.outputs is not None and e.outputs.shape[1] == 1:
        known = e.class_names or ("the output",)
        if set(names) == {known[-1]}:
            return "None"
        if set(names) <= set(known):
            return repr(names[0]) if len(set(names)) == 1 else repr(list(names))
    return names[0] if names[0].isidentifier() else "target"


def code_of(name: str, value: Any) -> str:
    """A parameter's value as Python, or its name where it cannot be written in one line."""
    literal = _literal(value)
    return name if literal is None else literal


def _literal(value: Any) -> str | None:
    """`value` as Python; None where it cannot be written in one line."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, str):
        return None if value.startswith("array of shape") else repr(value)
    if value is None or isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        parts = [(repr(k), _literal(v)) for k, v in value.items()]
        inner = (
            None if any(v is None for _, v in parts) else ", ".join(f"{k}: {v}" for k, v in parts)
        )
        return None if inner is None else f"{{{inner}}}"
    if isinstance(value, tuple | list):
        items = [_literal(v) for v in value]
        if any(item is None for item in items):
            return None
        inner = ", ".join(map(str, items))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(items) == 1 else f"({inner})"
    return None
