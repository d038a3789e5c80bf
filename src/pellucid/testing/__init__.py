"""What the tests stand on, and third parties' tests may: tiny models, and conformance suites.

Importing this loads NumPy only; `build` imports the one framework it is asked for.
"""

from pellucid.testing.check_adapter import check_adapter
from pellucid.testing.check_method import check_method
from pellucid.testing.laws import Finding, Report
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
    "NAMES",
    "STYLES",
    "Finding",
    "Report",
    "build",
    "call",
    "check_adapter",
    "check_method",
    "from_layout",
    "kink_distance",
    "reference_forward",
    "reference_gradient",
    "to_layout",
]
