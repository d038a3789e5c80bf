"""Looking inside: what layers see, what weights look like, how a model is built, what imitates it.

The questions are asked here of any model; what is computed for a `Task` alone lives in
`pellucid.methods.inside`, and the pictures in `pellucid.plots`.
"""

from pellucid.inside.surrogate import surrogate_tree
from pellucid.inside.surrogate_tree import SurrogateTree

__all__ = ["SurrogateTree", "surrogate_tree"]
