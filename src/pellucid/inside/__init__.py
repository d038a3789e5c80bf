"""Looking inside: what layers see, what weights look like, how a model is built, what imitates it.

The questions are asked here of any model; what is computed for a `Task` alone lives in
`pellucid.methods.inside`, and the pictures in `pellucid.plots`.
"""

from pellucid.inside.activations import Activations, LayerMaps, activations
from pellucid.inside.embedded import Embedding, Neighbours
from pellucid.inside.embedding import embed_vectors, embedding
from pellucid.inside.feature_visualization import FeatureVisualization
from pellucid.inside.inspecting import inspect
from pellucid.inside.receptive import ReceptiveField, receptive_field
from pellucid.inside.statistics import ActivationStatistics, LayerStatistics, statistics
from pellucid.inside.structure import LayerEntry, Node, Structure
from pellucid.inside.surrogate import surrogate_tree
from pellucid.inside.surrogate_result import SurrogateTree
from pellucid.inside.visualizing import visualize_feature
from pellucid.inside.weights import LayerWeights, Weights, weights

__all__ = [
    "ActivationStatistics",
    "Activations",
    "Embedding",
    "FeatureVisualization",
    "LayerEntry",
    "LayerMaps",
    "LayerStatistics",
    "LayerWeights",
    "Neighbours",
    "Node",
    "ReceptiveField",
    "Structure",
    "SurrogateTree",
    "Weights",
    "activations",
    "embed_vectors",
    "embedding",
    "inspect",
    "receptive_field",
    "statistics",
    "surrogate_tree",
    "visualize_feature",
    "weights",
]
