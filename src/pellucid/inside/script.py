"""The Python that explains a model, written out for its user."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.inside.structure import Structure


def script_for(structure: "Structure") -> str:
    """A script of a whole study: load or wrap, explain, judge and report."""
    lines = ["import numpy as np", "import pellucid", ""]
    if structure.source:
        lines.append(f"model = pellucid.load({structure.source!r})")
    else:
        lines.append("# model = pellucid.wrap(your_model, class_names=[...])")
    lines += [*_inputs(structure), "", "print(pellucid.inspect(model, x))"]
    for method in suggested(structure):
        # What a table's row is compared with: other rows of it.
        others = ", background=x" if method in _COMPARING else ""
        lines.append(f"{method} = pellucid.explain(model, x, {method!r}{others})")
    lines += [
        "# With labels as a third argument the report has a board of how the model behaves.",
        'report = pellucid.report(model, x, out="report.html")',
        "print(report)",
    ]
    return "\n".join(lines) + "\n"


_COMPARING = frozenset({"kernel_shap"})


def suggested(structure: "Structure") -> tuple[str, ...]:
    """Three methods that differ in what they measure and run on such a model."""
    kinds = frozenset().union(*(n.kinds for n in structure.nodes)) if structure.nodes else set()
    if structure.supports == "callable":
        shapes = [s.shape or (0, 0) for s in structure.inputs or ()]
        table = len(shapes) == 1 and len(shapes[0]) == 1
        return ("kernel_shap",) if table else ("occlusion",)
    middle = "gradcam" if "convolution" in kinds else "deeplift"
    if "attention" in kinds:
        middle = "attention_gradient"
    return ("integrated_gradients", middle, "occlusion")


def _inputs(structure: "Structure") -> list[str]:
    specs = structure.inputs
    if structure.supports == "callable" or not specs:
        return ["# x = your inputs, a batch or a data frame"]
    if any(s.shape is None or None in s.shape for s in specs):
        return ["# x = your inputs, a batch"]
    arrays = [
        f"np.zeros((4, {', '.join(map(str, s.shape or ()))}), dtype={s.dtype or 'float32'!r})"
        for s in specs
    ]
    held = arrays[0] if len(arrays) == 1 else f"({', '.join(arrays)})"
    return [f"x = {held}  # your inputs instead, a batch of this shape"]
