"""The pictures of small trees that imitate a model: of the Adult table, and of one photo."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import pellucid
from pellucid.demo import demo_model, demo_photos, load_photo
from pellucid.inside import surrogate_tree

ADULT = Path(__file__).parents[1] / "tests" / "data" / "adult" / "adult-480.csv"
COLUMNS = [
    "age", "education-num", "capital-gain", "capital-loss", "hours-per-week",
    "workclass", "marital-status", "occupation", "relationship", "sex",
]  # fmt: skip


@cache
def adult() -> tuple[Any, pandas.DataFrame]:
    """A forest on 360 rows of the Adult table, and all 480 rows."""
    table = pandas.read_csv(ADULT)
    words = [c for c in COLUMNS if not pandas.api.types.is_numeric_dtype(table[c])]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), words), remainder="passthrough"
    )
    forest = make_pipeline(encode, RandomForestClassifier(100, random_state=0))
    return forest.fit(table[COLUMNS][:360], table["income"][:360]), table[COLUMNS]


def incomes() -> pandas.Series:
    """What each of the 480 rows earns."""
    return pandas.read_csv(ADULT)["income"]


def tree() -> str:
    """The forest as a tree of depth 3."""
    return surrogate_tree(*adult(), max_depth=3, min_rows=5).to_svg()


def rules() -> str:
    """The forest as a list of rules, on a dark ground."""
    return surrogate_tree(*adult(), rules=5, max_depth=2, min_rows=5).to_svg(theme="dark")


def photo() -> str:
    """What MobileNetV2 says of one photo, by the pieces that are there."""
    network, class_names, preprocess = demo_model()
    model = pellucid.wrap(network, class_names=class_names, preprocess=preprocess)
    pixels = load_photo(demo_photos()[0].path)[None]
    found = surrogate_tree(model, pixels, features="superpixels:12", budget=400, max_depth=3)
    return found.to_svg()


PICTURES = {"tree.svg": tree, "tree-rules.svg": rules, "tree-photo.svg": photo}
