"""Tables as plots need them: columns in order of strength, values with their words."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.naming import method_of, method_words
from pellucid.plots.style import Theme, elide, short_name
from pellucid.units import by_unit

TOWARDS, AWAY = "#b40426", "#3b4cc0"
"""The two ends of coolwarm."""
_ON_DARK = {True: "#e8735c", False: "#7b9ff9"}


@dataclass(frozen=True)
class Columns:
    """A table's attributions `values (n, columns)` with names, inputs, and what a row adds up to.

    `base` is what attributions start from (`base_name` in words) and `score` the explained number,
    `(n,)`.
    """

    names: tuple[str, ...]
    values: np.ndarray
    inputs: np.ndarray
    categories: tuple[tuple[str, ...] | None, ...]
    base: np.ndarray
    base_name: str
    score: np.ndarray
    target: str
    explained: str
    amount: str
    """What a value is, in words."""
    directions: tuple[str, str]
    method: str

    def order(self, k: int | None = None) -> np.ndarray:
        """The columns by mean |a|, strongest first; the first k."""
        found = np.argsort(-np.abs(self.values).mean(axis=0), kind="stable")
        return found if k is None else found[: max(int(k), 1)]

    def column(self, feature: str | int) -> int:
        """The number of a column. Raises `InputError` for one that is not there."""
        if isinstance(feature, str) and feature in self.names:
            return self.names.index(feature)
        if isinstance(feature, int | np.integer) and 0 <= feature < len(self.names):
            return int(feature)
        known = ", ".join(map(repr, self.names[:20]))
        raise InputError(f"No column {feature!r}: expected one of {known}, or its number.")


def columns_of(explanation: Explanation, part: int = 0, sample: int | None = None) -> Columns:
    """The columns of a table. Raises `InputError` for another kind of input."""
    if not 0 <= part < len(explanation.parts):
        raise InputError(f"part {part} of {len(explanation.parts)} inputs (counted from 0).")
    chosen = by_unit(explanation.parts[part])
    if chosen.dims != ("sample", "feature"):
        raise InputError(
            f"{chosen.name} has axes {chosen.dims}: this picture is of the columns of a table."
        )
    values = np.nan_to_num(np.asarray(chosen.values, np.float64))
    width = values.shape[1]
    score = np.asarray(explanation.score, np.float64)
    base = explanation.baseline_score
    named = explanation.target_names if sample is None else (explanation.target_names[sample],)
    names = tuple(dict.fromkeys(named))
    return Columns(
        names=chosen.feature_names or tuple(f"feature {i}" for i in range(width)),
        values=values,
        inputs=np.asarray(chosen.inputs, np.float64),
        categories=chosen.categories or (None,) * width,
        base_name=base_words(explanation),
        base=score - values.sum(axis=1) if base is None else np.asarray(base, np.float64),
        score=score,
        target=short_name(names[0]) if len(names) == 1 else "classes mixed (each row's own)",
        explained=explanation.explained,
        amount=amount_words(explanation),
        directions=direction_words(explanation),
        method=method_words(explanation),
    )


def base_words(explanation: Explanation) -> str:
    """What attributions start from: f of one reference, or its mean over many rows."""
    if explanation.baseline_score is None:
        return "the score less all shares"
    given = explanation.parameters
    one = "baseline" in given and given.get("background") is None
    return "at the baseline" if one else "expected"


def adds_up(explanation: Explanation) -> bool:
    """Whether the values are a decomposition: by the method's claim, or by what they come to."""
    if explanation.gap is not None:
        return True
    base = explanation.baseline_score
    if base is None:
        return False
    count = len(explanation)
    total = sum(np.float64(p.values).reshape(count, -1).sum(axis=1) for p in explanation.parts)
    score = np.asarray(explanation.score, np.float64)
    scale = np.abs(score) + np.abs(base)
    return bool((np.abs(total - (score - base)) <= 1e-4 * np.maximum(scale, 1e-30)).all())


def require_sum(explanation: Explanation, picture: str) -> None:
    """Raise `InputError` where a picture of a sum would invent one."""
    if not adds_up(explanation):
        raise InputError(
            f"A {picture} picture draws values that add up from an expected score to f(x), and"
            f" those of {explanation.method} do not.\n"
            '  kind="bars" draws one row of them, "beeswarm" and "importance" all rows;'
            " kernel_shap finds values that add up."
        )


def is_loss(explanation: Explanation) -> bool:
    """Whether a value is what a loss rises by, which points neither towards nor away."""
    return "importance" in explanation.extras


def direction_words(explanation: Explanation) -> tuple[str, str]:
    """What values below and above zero mean."""
    return ("better without", "needed") if is_loss(explanation) else ("away", "towards")


def amount_words(explanation: Explanation) -> str:
    """What a value is: a share only where the values are to add up, and nothing keeps a part."""
    if is_loss(explanation):
        return "rise of the loss when shuffled"
    if explanation.keeps_shares:
        return f"relevance for the {explanation.explained}"
    how = "effect on" if explanation.gap is None else "share of"
    return f"{how} the {explanation.explained}"


def signs(theme: Theme) -> dict[bool, str]:
    """The colours of towards (True) and away (False)."""
    return {True: TOWARDS, False: AWAY} if theme.ground == "#ffffff" else _ON_DARK


def sign_words(theme: Theme) -> tuple[str, str]:
    """What a person calls the colours of towards and away."""
    return ("red", "blue") if theme.ground == "#ffffff" else ("salmon", "light blue")


def value_map(theme: Theme) -> Colormap:
    """Colours from a low to a high value of a column, each apart from the ground."""
    low, high = (0.0, 0.95) if theme.ground == "#ffffff" else (0.22, 1.0)
    return ListedColormap(theme.colour_map(False)(np.linspace(low, high, 256)))


def title(axes: Axes, columns: Columns, theme: Theme, extra: str = "") -> None:
    """Say by which method, of what."""
    words = method_of(columns.method, elide(columns.target, 40)) + extra
    axes.set_title(words, color=theme.ink, fontsize=10, loc="left", parse_math=False)


def value_ends(there: np.ndarray) -> tuple[float, float]:
    """The 5th and 95th percentile, or the whole range where those are one; values that occur."""
    low, high = np.quantile(there, [0.05, 0.95], method="nearest")
    if high <= low:
        low, high = there.min(), there.max()
    return float(low), float(high)


def relative(values: np.ndarray) -> np.ndarray:
    """Values of a column between its 5th and 95th percentile as 0 to 1; NaN where missing."""
    there = values[np.isfinite(values)]
    if not len(there):
        return np.full(values.shape, np.nan)
    low, high = value_ends(there)
    if high <= low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return np.clip((values - low) / (high - low), 0, 1)
