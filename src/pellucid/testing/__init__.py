"""What the tests stand on, and third parties' tests may.

Tiny models, models whose right explanation is known, and conformance suites.

Importing this loads NumPy only; `build` imports the one framework it is asked for.
"""

from pellucid.testing.check_adapter import check_adapter
from pellucid.testing.check_method import check_method
from pellucid.testing.known import KNOWN_ANSWERS, KnownAnswer, known_answer
from pellucid.testing.laws import Finding, Report
from pellucid.testing.self_test import Reliability, self_test
from pellucid.testing.tiny import (
    FRAMEWORKS,
    NAMES,
    STYLES,
    build,
    call,
    from_layout,
    kink_distance,
    reference_forward,
    reference_gradient,
    to_layout,
)

__all__ = [
    "FRAMEWORKS",
    "KNOWN_ANSWERS",
    "NAMES",
    "STYLES",
    "Finding",
    "KnownAnswer",
    "Reliability",
    "Report",
    "build",
    "call",
    "check_adapter",
    "check_method",
    "from_layout",
    "kink_distance",
    "known_answer",
    "reference_forward",
    "reference_gradient",
    "self_test",
    "to_layout",
]
