"""The Standard: how an explanation is judged, on four axes, with error bars."""

from pellucid.standard import (  # noqa: F401 - registers the metrics
    completeness,
    interpretability,
    local,
    localisation,
    older,
    removal,
    scalability,
    speed,
    stability,
    weights,
)
from pellucid.standard.case import Case
from pellucid.standard.evaluate import evaluate
from pellucid.standard.metric import (
    Metric,
    default_metrics,
    metric_named,
    register_metric,
    registered_metrics,
    seal_built_in,
    unregister_metric,
)
from pellucid.standard.scalability import parameter_slopes
from pellucid.standard.scorecard import Scorecard

seal_built_in()

__all__ = [
    "Case",
    "Metric",
    "Scorecard",
    "default_metrics",
    "evaluate",
    "metric_named",
    "parameter_slopes",
    "register_metric",
    "registered_metrics",
    "unregister_metric",
]
