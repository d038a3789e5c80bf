"""Problems whose right explanation is known, because every weight of the model was set by hand."""

from pellucid.testing.known.answers import KNOWN_ANSWERS, KnownAnswer, known_answer
from pellucid.testing.known.network import Convolution, Dense, HandSet, Lookup

__all__ = [
    "KNOWN_ANSWERS",
    "Convolution",
    "Dense",
    "HandSet",
    "KnownAnswer",
    "Lookup",
    "known_answer",
]
