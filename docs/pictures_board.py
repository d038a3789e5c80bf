"""The pictures of a board: of income in the Adult table, by a linear model."""

import io
from functools import cache
from pathlib import Path

import pandas
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pellucid

ADULT = Path(__file__).parents[1] / "tests" / "data" / "adult" / "adult-480.csv"


@cache
def of_adult(examples: int = 0) -> pellucid.Board:
    """The board over 240 rows, of a model that learned from 240 others."""
    frame = pandas.read_csv(ADULT).drop(columns="fnlwgt")
    labels = frame.pop("income")
    numbers = list(frame.select_dtypes("number").columns)
    words = [c for c in frame.columns if c not in numbers]
    encode = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words)
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=1000))
    model.fit(frame[:240], labels[:240])
    return pellucid.board(
        model, frame[240:], labels[240:], examples=examples, title="Income in the Adult table"
    )


def panels() -> bytes:
    """The main panels in one figure, in 48 colours: a third of the bytes."""
    stream, small = io.BytesIO(), io.BytesIO()
    of_adult().plot().savefig(stream, format="png", dpi=110, bbox_inches="tight")
    with Image.open(stream) as image:
        few = image.convert("RGB").quantize(48, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


PICTURES = {"board-adult.png": panels}
