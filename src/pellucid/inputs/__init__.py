"""What goes into a model: layouts, reference inputs, features, pictures from files."""

from pellucid.inputs.summaries import WeightedRows, summarise

__all__ = ["WeightedRows", "summarise"]
