"""Operations that a method has no rule for: refused, or passed on with their gradient and noted."""

from pellucid.adapters.protocol import Operation
from pellucid.errors import CoverageError, InputError
from pellucid.types import Array

CHOICES = ("error", "gradient")

_REASONS = {
    "batch_statistics": "It normalises by mean and variance of the batch, by which samples depend"
    " on each other; one with running statistics has a rule.",
}
"""Why there is no rule, by form, and what would have one."""


class Uncovered:
    """What happens to operations without a rule, and which those were.

    `choice` is "error" (raise `CoverageError`) or "gradient" (their own derivative, noted in
    `met`). `instead` names the nearest method that needs no rules.
    """

    def __init__(self, method: str, choice: str, instead: str) -> None:
        if choice not in CHOICES:
            raise InputError(f"Expected on_uncovered to be one of {CHOICES}, got {choice!r}.")
        self._method, self._choice, self._instead = method, choice, instead
        self._met: dict[str, None] = {}

    @property
    def choice(self) -> str:
        """What is done about them."""
        return self._choice

    def again(self) -> "Uncovered":
        """The same choice, with nothing met yet."""
        return Uncovered(self._method, self._choice, self._instead)

    def note(self, met: tuple[str, ...]) -> None:
        """Operations that were met elsewhere."""
        self._met.update(dict.fromkeys(met))

    @property
    def met(self) -> tuple[str, ...]:
        """The operations that passed on their plain gradient, in order, each named once."""
        return tuple(self._met)

    def __call__(self, op: Operation) -> Array:
        """The operation as it is; raises `CoverageError` unless that was chosen."""
        place = op.path or "the model"
        if self._choice == "error":
            reason = f"  {_REASONS[op.form]}\n" if op.form in _REASONS else ""
            raise CoverageError(
                f"{self._method} has no rule for {op.name} ({op.kind}) in {place}.\n{reason}"
                f"  {self._instead} needs none; model.coverage({self._method!r}, x) lists every"
                " operation; on_uncovered='gradient' lets such operations pass on their plain"
                " gradient and says so in the result."
            )
        self._met[f"{op.name} ({op.kind}) in {place}"] = None
        return op()
