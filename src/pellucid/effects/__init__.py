"""How a model's output goes with one column or two, over a whole table."""

from pellucid.effects.accumulated import ale
from pellucid.effects.dependence import ice, partial_dependence
from pellucid.effects.effect import Effect

__all__ = ["Effect", "ale", "ice", "partial_dependence"]
