"""Who vouches for a file: the one place that decides whether something may run code."""

import re
from typing import Any

from pellucid.adapters.loading.file_formats import FileFacts, FileFormat
from pellucid.errors import InputError, LoadError, UnsafeModelError

Trust = None | bool | str
"""`None`: nobody vouches. `True`: the caller does. A SHA-256 (12 characters or more of it):
the caller vouches for exactly this content."""

_SHORTEST_HASH = 12

_WHY = {
    FileFormat.KERAS: "it holds more than plain Keras layers",
    FileFormat.HDF5: "HDF5 models can hold Python byte code and links to other files, and Keras "
    "has not always refused them",
    FileFormat.SAVED_MODEL: "its graph is a program, which may read and write files",
    FileFormat.TORCH_EXPORT: "torch.export.load falls back to pickle, which runs any code",
    FileFormat.TORCHSCRIPT: "it is a program",
    FileFormat.TORCH_CHECKPOINT: "it pickles whole Python objects, and unpickling runs any code",
    FileFormat.PICKLE: "unpickling runs whatever code the file holds",
    FileFormat.JOBLIB: "it is a pickle inside, and unpickling runs whatever code it holds",
    FileFormat.SKOPS: "it names Python types that skops does not know to be harmless",
}
_SAFER = {
    FileFormat.KERAS: "rewrite the layer as a Layer subclass registered with "
    "keras.saving.register_keras_serializable",
    FileFormat.HDF5: 'load it where it was made and save it again as model.save("model.keras")',
    FileFormat.SAVED_MODEL: 'save the model as model.save("model.keras")',
    FileFormat.TORCH_EXPORT: 'name the code instead: "package.module:factory"',
    FileFormat.TORCH_CHECKPOINT: "save model.state_dict() and load it into your own class in a "
    '"package.module:factory"',
    FileFormat.PICKLE: "convert it where it was made, with skops.io.dump or to ONNX",
    FileFormat.JOBLIB: "convert it where it was made, with skops.io.dump or to ONNX",
}


class DisguisedPickleError(UnsafeModelError, LoadError):
    """A pickle that carries the name of another format: both damaged and dangerous."""


def vouched(trust: Trust, facts: FileFacts) -> bool:
    """Whether the caller vouches for this very file.

    Raises `InputError` for a `trust` that is neither True, None nor a SHA-256, and
    `UnsafeModelError` for the SHA-256 of some other content.
    """
    if trust is None or isinstance(trust, bool):
        return bool(trust)
    given = trust.strip().lower().removeprefix("sha256:") if isinstance(trust, str) else ""
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_HASH},64}}", given):
        raise InputError(
            f"trust must be True, None or the file's SHA-256 (at least {_SHORTEST_HASH} of its "
            f"64 hexadecimal digits), got {trust!r}.\n  `pellucid inspect FILE` prints it."
        )
    if not facts.sha256.startswith(given):
        raise UnsafeModelError(
            f"{facts.path} is not the file that was vouched for; nothing was loaded.\n"
            f"  expected sha256 {given}\n"
            f"  the file has    {facts.sha256 or '(none: not a model)'}\n"
            "  Find out why it changed before you trust the new hash."
        )
    return True


def refusal(facts: FileFacts, reasons: tuple[str, ...] = (), advice: str = "") -> UnsafeModelError:
    """The error for a file that may run code and that nobody vouches for."""
    seen = [f"  found: {reason}" for reason in reasons[:5]]
    if len(reasons) > len(seen):
        seen.append(f"  … and {len(reasons) - len(seen)} more")
    advice = advice or _SAFER.get(facts.format, "")
    lines = [
        f"{facts.path} ({facts.title}) can run code when loaded: "
        f"{_WHY.get(facts.format, 'it holds code')}. Nothing was loaded.",
        *seen,
        f"  sha256 {facts.sha256}",
        "  If you know who made it and that it is unchanged, allow exactly this file:",
        f'    Python        trust="{facts.sha256}"',
        f"    command line  --trust-model {facts.sha256}",
    ]
    if advice:
        lines.append(f"  Safer: {advice}.")
    return UnsafeModelError("\n".join(lines))


def malformed(facts: FileFacts, reasons: tuple[str, ...]) -> UnsafeModelError:
    """The error for an archive that no tool writes by accident; trust does not lift it."""
    seen = "\n".join(f"  found: {reason}" for reason in reasons[:5])
    return UnsafeModelError(
        f"{facts.path} ({facts.title}) is put together to do harm. Nothing was loaded.\n"
        f"{seen}\n"
        f"  sha256 {facts.sha256}\n"
        "  No --trust-model or trust=... lifts this: ask for a model saved by the usual tools."
    )


def disguised(facts: FileFacts, suffix: str) -> DisguisedPickleError:
    """The error for a pickle under another format's suffix."""
    return DisguisedPickleError(
        f"{facts.path} is named {suffix} but is a {facts.title}, which runs code when loaded. "
        "Nothing was loaded.\n"
        f"  sha256 {facts.sha256}\n"
        f"  Expected a model saved as {suffix}. Ask whoever sent it; if it is meant to be a "
        "pickle, give it the suffix .pkl and see what `pellucid inspect` finds in it."
    )


def describe(facts: FileFacts) -> dict[str, Any]:
    """The facts as plain data, for `pellucid inspect --json` and a result's provenance."""
    return {
        "path": str(facts.path),
        "format": str(facts.format),
        "title": facts.title,
        "size": facts.size,
        "sha256": facts.sha256,
        "runs_code": facts.runs_code,
        "findings": [{"kind": f.kind, "text": f.text} for f in facts.findings],
    }
