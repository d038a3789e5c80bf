"""The Python that makes a report again."""

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.explanation import Explanation
from pellucid.model import Model
from pellucid.reproduce import code_of, reproduce


def script_of(
    model: Model,
    made: Sequence[Explanation],
    *,
    asked: Any,
    labels: bool,
    target: Any,
    examples: int,
    evaluate: Any,
    seed: int,
) -> str:
    """The call of `report`, and after it that of each explanation, all parameters filled in."""
    lines = ["import pellucid", ""]
    if model.source:
        lines.append(f"model = pellucid.load({model.source!r})")
    else:
        lines.append("# model = what was wrapped here; x and y the data it was asked about")
    arguments = ["model", "x", *(["y"] if labels else []), 'out="report.html"']
    if asked is not None:
        arguments.append(f"methods={_methods(asked)}")
    if target is not None:
        arguments.append(f"target={code_of('target', target)}")
    judged = evaluate if isinstance(evaluate, bool) else code_of("evaluate", evaluate)
    arguments += [f"examples={examples}", f"evaluate={judged}", f"seed={seed}"]
    lines += [f"report = pellucid.report({', '.join(arguments)})", ""]
    lines.append("# One by one, of the samples that are explained in it:")
    single = [
        line
        for e in made
        for line in reproduce(e).splitlines()
        if line and not line.startswith(("import pellucid", "model ="))
    ]
    return "\n".join([*lines, *dict.fromkeys(single)]) + "\n"


def _methods(asked: Any) -> str:
    words = []
    for entry in asked:
        name, given = (entry, {}) if isinstance(entry, str) else entry
        known: Mapping[str, Any] = given or {}
        inner = ", ".join(f"{k!r}: {code_of(k, v)}" for k, v in known.items())
        words.append(f"({name!r}, {{{inner}}})" if inner else repr(name))
    return f"[{', '.join(words)}]"
