"""The Python that makes a report again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.board.examples import background_code
from pellucid.explanation import Explanation
from pellucid.reproduce import code_of, reproduce

LONGEST = 2000
"""Characters of an argument that is written out."""


def script_of(
    x: Any,
    made: Sequence[Explanation],
    rows: np.ndarray,
    *,
    count: int,
    inputs: int,
    asked: Any,
    arguments: Mapping[str, Any],
    labels: bool,
    seed: int,
) -> str:
    """The call of `report`, and after it that of each explanation, all parameters filled in.

    `x` holds `count` samples of `inputs` arrays each, of which `made` explains `rows`; `arguments`
    are what `report` was given beyond its inputs, its methods and its seed.
    """
    scripts = [_lines(reproduce(e)) for e in made]
    model = next((line for line in scripts[0] if "model = pellucid." in line), None)
    given = ["model", "x", *(["y"] if labels else []), 'out="report.html"']
    if asked is not None:
        given.append(f"methods={_methods(asked)}")
    given += [f"{k}={_short(k, v)}" for k, v in arguments.items() if v is not None]
    lines = [
        "import numpy as np",
        "import pellucid",
        "",
        model or "# model = what was wrapped here",
        "# x" + (" and y" if labels else "") + " = the data it was asked about",
        f"report = pellucid.report({', '.join([*given, f'seed={seed}'])})",
        "",
        "# One by one, of the samples that are explained in it:",
    ]
    part, own = "x", _with_background(asked)
    if len(rows) != count:
        lines.append(f"rows = np.array({[int(r) for r in rows]})")
        part = _taken(x, inputs, "rows")
    single = []
    for e, script in zip(made, scripts, strict=True):
        call = next(line for line in script if line.startswith("explanation = "))
        call = call.replace("pellucid.explain(model, x,", f"pellucid.explain(model, {part},", 1)
        if e.method not in own:
            call = call.replace("background=background", "background=others", 1)
        single += [line for line in script if line.startswith("# ") and line != model] + [call]
    if any("background=others" in line for line in single):
        lines += [
            f"drawn = {background_code(count, seed)}",
            f"others = {_taken(x, inputs, 'drawn')}",
        ]
    return "\n".join([*lines, *single]) + "\n"


def _short(name: str, value: Any) -> str:
    """The value as Python, or its name where that would be pages long."""
    code = code_of(name, value)
    return code if len(code) <= LONGEST else name


def _lines(script: str) -> list[str]:
    return [line for line in script.splitlines() if line and line != "import pellucid"]


def _with_background(asked: Any) -> set[str]:
    """The methods whose background is the user's own."""
    entries = [e for e in asked or () if not isinstance(e, str)]
    return {name for name, given in entries if "background" in (given or {})}


def _taken(x: Any, inputs: int, rows: str) -> str:
    """These rows of `x` as Python; `rows` is the name of an array of their numbers."""
    known = type(x).__module__.partition(".")[0]
    if inputs > 1 and not isinstance(x, Mapping):
        return f"[part[{rows}] for part in x]"
    if isinstance(x, Mapping):
        return f"{{name: part[{rows}] for name, part in x.items()}}"
    if isinstance(x, tuple | list):
        return f"[x[i] for i in {rows}]"
    by_word = {"pandas": f"x.iloc[{rows}]", "pyarrow": f"x.take({rows})"}
    by_word["tensorflow"] = f"x.numpy()[{rows}]"
    return by_word.get(known, f"x[{rows}]")


def _methods(asked: Any) -> str:
    words = []
    for entry in asked:
        name, given = (entry, {}) if isinstance(entry, str) else entry
        known: Mapping[str, Any] = given or {}
        inner = ", ".join(f"{k!r}: {code_of(k, v)}" for k, v in known.items())
        words.append(f"({name!r}, {{{inner}}})" if inner else repr(name))
    return f"[{', '.join(words)}]"
