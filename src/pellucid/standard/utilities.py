"""Scores between two fixed points: 0 is what the random control gets, 1 the ideal."""

import numpy as np

from pellucid.standard.metric import Metric


def utility(metric: Metric, values: np.ndarray, floor: float) -> np.ndarray:
    """(m − floor) / (m_ideal − floor) of some values; NaN where the two points are one.

    At least −1, so that one score without a lower end does not outweigh all others; no bound at
    all for a metric whose utilities have a unit of their own (`Metric.utility_of`): a better map
    has more, however good both are.
    """
    if metric.ideal is None or np.isnan(floor) or np.isclose(metric.ideal, floor):
        return np.full(np.shape(values), np.nan)
    found = (values - floor) / (metric.ideal - floor)
    return found if metric.utility_of else np.maximum(found, -1.0)
