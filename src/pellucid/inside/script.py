"""The Python that explains a model, written out for its user."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.inside.structure import Structure


def script_for(structure: "Structure") -> str:
    """A script of a whole study: load or wrap, explain by fitting methods, judge, report."""
    lines = ["import numpy as np", "import pellucid", ""]
    if structure.source:
        lines.append(f"model = pellucid.load({structure.source!r})")
    else:
        lines.append("# model = pellucid.wrap(your_model, class_names=[...])")
    lines += [*_inputs(structure), ""]
    methods = ", ".join(repr(m) for m in suggested(structure))
    lines += [
        "print(pellucid.inspect(model))",
        f"explainer = pellucid.Explainer(model, [{methods}])",
        "comparison = explainer.compare(x)",
        "scorecard = explainer.evaluate(x)",
        "print(scorecard)",
        'explainer.visualize_all(x, "explained")',
    ]
    return "\n".join(lines) + "\n"


def suggested(structure: "Structure") -> tuple[str, ...]:
    """Three methods that differ in what they measure and run on such a model."""
    kinds = frozenset().union(*(n.kinds for n in structure.nodes)) if structure.nodes else set()
    if structure.supports == "callable":
        return ("kernel_shap", "lime", "occlusion")
    middle = "gradcam" if "convolution" in kinds else "deeplift"
    if "attention" in kinds:
        middle = "attention_gradient"
    return ("integrated_gradients", middle, "occlusion")


def _inputs(structure: "Structure") -> list[str]:
    specs = structure.inputs
    if not specs or any(s.shape is None or None in s.shape for s in specs):
        return ["# x = your inputs, a batch"]
    arrays = [
        f"np.zeros((4, {', '.join(map(str, s.shape or ()))}), dtype={s.dtype or 'float32'!r})"
        for s in specs
    ]
    held = arrays[0] if len(arrays) == 1 else f"({', '.join(arrays)})"
    return [f"x = {held}  # your inputs instead, a batch of this shape"]
