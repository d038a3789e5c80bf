"""The Adult table of the tests, and a model of it that is fitted in a moment."""

from pathlib import Path

import pandas
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ADULT = Path(__file__).parents[1] / "data" / "adult" / "adult-480.csv"


def adult_and_model():
    """480 rows without their income, and a logistic regression fitted on the first 400."""
    table = pandas.read_csv(ADULT)
    rich = (table.pop("income") == ">50K").to_numpy()
    numbers = list(table.select_dtypes("number").columns)
    words = [name for name in table.columns if name not in numbers]
    table[words] = table[words].fillna("unknown")
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), words), (StandardScaler(), numbers)
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(table[:400], rich[:400])
    return table, model
