"""The maps and bars of one method inside the page, and the words that go with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.colors import to_hex

from pellucid.explanation import Explanation
from pellucid.plots.image import image_map, is_image, signed_part
from pellucid.plots.noise import is_noise
from pellucid.plots.parts import looked_at, part_label
from pellucid.plots.scale import Scale
from pellucid.plots.series import series
from pellucid.plots.style import LIGHT, Sheet, elide, number, short_name
from pellucid.plots.table import top_features
from pellucid.reports.images import Quality, overlay_uri, png_uri
from pellucid.reports.items import Answer
from pellucid.reports.words import meaning

TITLES = {
    "saliency": "Saliency",
    "gradient_x_input": "Gradient × input",
    "integrated_gradients": "Integrated gradients",
    "smoothgrad": "SmoothGrad",
    "squaregrad": "SquareGrad",
    "vargrad": "VarGrad",
    "expected_gradients": "Expected gradients",
    "blur_integrated_gradients": "Blur integrated gradients",
    "guided_integrated_gradients": "Guided integrated gradients",
    "gradcam": "Grad-CAM",
    "gradcam_plus_plus": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "xgradcam": "XGrad-CAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "scorecam": "Score-CAM",
    "ablationcam": "Ablation-CAM",
    "deeplift": "DeepLIFT",
    "deep_shap": "DeepSHAP",
    "lrp": "LRP",
    "excitation_backprop": "Excitation backprop",
    "guided_backprop": "Guided backpropagation",
    "deconvnet": "Deconvolution",
    "guided_gradcam": "Guided Grad-CAM",
    "activations": "Activations",
    "occlusion": "Occlusion",
    "lime": "LIME",
    "exact_shapley": "Exact Shapley values",
    "kernel_shap": "Kernel SHAP",
    "permutation_shap": "Permutation SHAP",
    "partition_shap": "Partition SHAP",
    "shapley_interactions": "Shapley interactions",
    "rise": "RISE",
    "sobol": "Sobol indices",
    "hsic": "HSIC",
    "attention": "Attention",
    "attention_norm": "Attention by norms",
    "attention_rollout": "Attention rollout",
    "attention_gradient": "Attention × gradient",
    "tree_shap": "Tree SHAP",
    "feature_permutation": "Shuffled columns",
    "surrogate_tree": "Tree that imitates",
    "random": "Random (control)",
    "edges": "Edges (control)",
    "constant": "Constant (control)",
}


@dataclass(frozen=True)
class Bar:
    """One feature of a table: its label, its number, and how far its bar reaches."""

    label: str
    text: str
    towards: bool
    width: float


@dataclass(frozen=True)
class Layer:
    """One input of the model in a cell: a map on its ground, a drawn series, or bars."""

    alt: str
    label: str = ""
    """The input's name and share, where there are several."""
    part: int = 0
    overlay: str = ""
    figure: str = ""
    note: str = ""
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class Cell:
    """What one method said to one question: one layer an input."""

    question: str
    found: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Column:
    """One method: its maps on one scale, and its words."""

    title: str
    name: str
    asks: str
    cells: tuple[Cell, ...]
    gradient: str
    ends: tuple[str, ...]
    signed: bool


def method_title(method: str) -> str:
    """A method's name as a heading; a user's own stays as it was registered."""
    return TITLES.get(method, elide(method, 60))


def question_of(answer: Answer) -> str:
    """The question as it is shown: a long target inside it is shortened."""
    target = " ".join(answer.explanation.target_names[answer.sample].split())
    question = " ".join(answer.question.split())
    if target:
        question = question.replace(target, short_name(target))
    return elide(question, 80)


def column_of(method: str, answers: Sequence[Answer], quality: Quality) -> Column:
    """All maps of one method for one input, on one scale."""
    images, others = _shared_scale(answers, images=True), _shared_scale(answers, images=False)
    scale = images or others or Scale(0.0, True)
    top = number(scale.limit)
    ends = (f"−{top}", "0", f"+{top}") if scale.signed else ("0", top)
    return Column(
        title=method_title(method),
        name=method,
        asks=meaning(answers[0].explanation, answers[0].sample)[0],
        cells=tuple(_cell(answer, images, others, quality) for answer in answers),
        gradient=ramp(scale.signed) if images is not None else "",
        ends=ends if scale.limit else ("0",),
        signed=scale.signed,
    )


def ramp(signed: bool) -> str:
    """The stops of a colour map for a CSS gradient."""
    return ", ".join(to_hex(LIGHT.colour_map(signed)(x)) for x in np.linspace(0, 1, 9))


def _shared_scale(answers: Sequence[Answer], *, images: bool) -> Scale | None:
    """One scale for a method's maps, or bars, of one input, so that they can be compared."""
    found = [
        (part, a, i)
        for a in answers
        for i, part in enumerate(a.explanation.parts)
        if is_image(part) == images and looked_at(a.explanation, i)
    ]
    if not found:
        return None
    signed = any(signed_part(a.explanation, i) for _, a, i in found)
    if not images:
        return Scale.of([p.values[a.sample] for p, a, _ in found], percentile=100, signed=signed)
    return Scale.of([image_map(part, a.sample) for part, a, _ in found], signed=signed)


def _cell(answer: Answer, images: Scale | None, others: Scale | None, quality: Quality) -> Cell:
    explanation, sample = answer.explanation, answer.sample
    found = meaning(explanation, sample)[1]
    alt = f"{method_title(explanation.method)}, {answer.question} {found}"
    layers = []
    for i, part in enumerate(explanation.parts):
        label = part_label(explanation, sample, i)
        here = f"{label}. {alt}" if label else alt
        if not looked_at(explanation, i):
            layers.append(Layer(here, label, i))
        elif is_image(part) and images is not None:
            values = image_map(part, sample)
            note = _note(values, is_noise(explanation, sample))
            uri = overlay_uri(values, images, quality)
            layers.append(Layer(here, label, i, overlay=uri, note=note))
        elif "step" in part.dims:
            layers.append(Layer(here, label, i, figure=series_uri(explanation, sample, i)))
        else:
            longest = others.limit if others is not None else 0.0
            count = 8 if images is None else 5
            bars = feature_bars(explanation, sample, longest, count, part=i)
            layers.append(Layer(here, label, i, bars=bars))
    return Cell(question_of(answer), found, tuple(layers))


def _note(values: np.ndarray, noise: bool) -> str:
    """What has to be said on the map itself, where it shows nothing that counts."""
    if not np.isfinite(values).all():
        return "some values are not finite"
    if not values.any():
        return "all values are zero"
    return "noise: the score hardly changes" if noise else ""


def series_uri(explanation: Explanation, sample: int, part: int = 0) -> str:
    """The drawn series as a PNG data URI."""
    sheet = series(explanation, sample, part=part).figure
    assert isinstance(sheet, Sheet)
    return png_uri(sheet._repr_png_())


def feature_bars(
    explanation: Explanation, sample: int, longest: float, count: int = 8, *, part: int = 0
) -> tuple[Bar, ...]:
    """The strongest features as bars that a page can draw without a picture."""
    features = top_features(explanation, sample, count, part=part)
    most = max([longest, *(abs(f.attribution) for f in features)]) or 1.0
    return tuple(
        Bar(
            label=replace(f, name=elide(f.name, 40)).label,
            text=("+" if f.attribution > 0 else "")
            + number(f.attribution)
            + (f" ± {number(f.stderr)}" if f.stderr is not None else ""),
            towards=f.attribution >= 0,
            width=round(50 * abs(f.attribution) / most, 2),
        )
        for f in features
    )
