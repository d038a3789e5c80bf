"""What the tests stand on, and third parties' tests may: tiny models in every framework.

Importing this loads NumPy only; `build` imports the one framework it is asked for.
"""

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
    "build",
    "call",
    "from_layout",
    "kink_distance",
    "reference_forward",
    "reference_gradient",
    "to_layout",
]
