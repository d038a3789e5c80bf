"""The pictures of the page about tables: income in the Adult table, by boosted trees."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import pellucid
from pellucid import effects

ADULT = Path(__file__).parents[1] / "tests" / "data" / "adult" / "adult-480.csv"


@cache
def adult() -> tuple[Any, pandas.DataFrame]:
    """Boosted trees on the table, and its columns."""
    table = pandas.read_csv(ADULT).drop(columns="fnlwgt")
    labels = table.pop("income")
    words = [c for c in table.columns if not pandas.api.types.is_numeric_dtype(table[c])]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        remainder="passthrough",
    )
    boosted = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    return make_pipeline(encode, boosted).fit(table, labels), table


@cache
def explained() -> pellucid.Explanation:
    """The score for more than 50,000 dollars of 80 rows, against 20 others."""
    model, table = adult()
    return pellucid.explain(
        model, table[:80], "kernel_shap", target=">50K", background=table[400:420], budget=600
    )


def of_kind(kind: str, sample: Any = None, **options: Any) -> Any:
    """One picture of the explained rows."""
    axes = explained().plot(*([] if sample is None else [sample]), kind=kind, **options)
    return axes.figure


def ale() -> Any:
    """What a small step of age does to the score."""
    model, table = adult()
    axes = effects.ale(model, table, "age", target=">50K").plot()
    return axes.figure


def small(make: Callable[[], Any]) -> Callable[[], bytes]:
    """The picture in 48 colours: a third of the bytes."""

    def made() -> bytes:
        stream, few = io.BytesIO(), io.BytesIO()
        make().savefig(stream, format="png", dpi=90, bbox_inches="tight")
        with Image.open(stream) as image:
            image.convert("RGB").quantize(48, dither=Image.Dither.NONE).save(
                few, format="png", optimize=True
            )
        return few.getvalue()

    return made


PICTURES = {
    "tables-waterfall.png": small(lambda: of_kind("waterfall", 6)),
    "tables-beeswarm.png": small(lambda: of_kind("beeswarm")),
    "tables-scatter.png": small(lambda: of_kind("scatter", feature="age")),
    "tables-ale.png": small(ale),
}
