"""The numbers by which a chain of operations is told to be a ReLU, in every framework."""

PROBES = (-7.5, -2.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 2.0, 6.5, 40.0)
"""On both sides of the kinks at 0 and 6, near them and far off."""
LONGEST = 8
"""Operations between a number and the ReLU that is made of it."""
