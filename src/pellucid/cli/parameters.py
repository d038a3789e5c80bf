"""Values of options: numbers, sizes, `name=value` pairs, lists of names, ways to preprocess."""

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from pellucid.errors import InputError, quote_nearest

Preprocess = Callable[[np.ndarray], np.ndarray]

_IMAGENET_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_IMAGENET_STD = np.array((0.229, 0.224, 0.225), np.float32)
_CAFFE_MEAN = np.array((103.939, 116.779, 123.68), np.float32)


_OF_EXPLAIN = frozenset(
    {"target", "layer", "baseline", "seed", "budget", "tolerance", "batch_size"}
)


def parse_parameters(pairs: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parameters a method, from `name=value` (all methods) and `method.name=value` pairs.

    Values are Python literals; what is none stays text.
    Raises `InputError` for a pair without a name or an equals sign, a name that has an option of
    its own, and a method that is not being run.

    >>> parse_parameters(["samples=9"], ["smoothgrad"])
    {'smoothgrad': {'samples': 9}}
    """
    found: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for pair in pairs:
        full_name, equals, text = pair.partition("=")
        method, dot, name = full_name.strip().rpartition(".")
        if not equals or not name.isidentifier():
            raise InputError(f"--param {pair!r}: expected name=value, such as samples=64.")
        if name in _OF_EXPLAIN:
            raise InputError(f"--param {name}: it has an option of its own, --{_dashed(name)}.")
        if dot and method not in found:
            raise InputError(f"--param {full_name}: {method!r} is not among --method {methods}.")
        for chosen in [method] if dot else methods:
            found[chosen][name] = parse_literal(text)
    return found


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def parse_literal(text: str) -> Any:
    """A number, tuple, None, True, ... as Python writes it; anything else as text.

    >>> parse_literal("0.5"), parse_literal("(1, 2)"), parse_literal("blur")
    (0.5, (1, 2), 'blur')
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.strip()


def parse_names(words: Sequence[str]) -> list[str]:
    """Names from options that are repeated or separated by commas, each once, order kept."""
    names = [name.strip() for word in words for name in word.split(",")]
    return list(dict.fromkeys(name for name in names if name))


FORMATS = ("png", "html", "json")


def parse_formats(words: Sequence[str]) -> frozenset[str]:
    """The kinds of file to write; raises `InputError` for one that is not known."""
    names = parse_names(words)
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise InputError(f"--format {unknown[0]!r}: expected some of {', '.join(FORMATS)}.")
    return frozenset(names)


def parse_rows(text: str | None) -> slice:
    """`START:STOP`, either left out, or one number for the first so many rows.

    >>> parse_rows("2:5"), parse_rows("7")
    (slice(2, 5, None), slice(0, 7, None))
    """
    if text is None:
        return slice(None)
    match = re.fullmatch(r"(\d*):(\d*)|(\d+)", text.strip())
    if match is None:
        raise InputError(f"--rows {text!r}: expected START:STOP, such as 0:20, or a number.")
    if match[3]:
        return slice(0, int(match[3]))
    return slice(int(match[1] or 0), int(match[2]) if match[2] else None)


def parse_size(text: str) -> tuple[int, int]:
    """`HxW` or one number for both; raises `InputError` for anything else."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if match is None or int(match[1]) == 0 or match[2] == "0":
        raise InputError(f"--size {text!r}: expected HEIGHTxWIDTH, such as 224x224, or 224.")
    height = int(match[1])
    return height, int(match[2]) if match[2] else height


def parse_batch_size(text: str) -> int | str:
    """`auto` or a number of at least 1."""
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"--batch-size {text!r}: expected auto or a number of at least 1.")
    return int(text)


def read_labels(path: Path) -> list[str]:
    """Class names, one a line; empty lines at the end do not count.

    Raises `InputError` where the file cannot be read, is empty or has an empty line inside.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--classes {path}: {error}") from error
    names = [line.strip() for line in lines]
    if not all(names):
        number = names.index("") + 1
        raise InputError(f"--classes {path}: line {number} is empty; expected one name a line.")
    return names


def _minus1_1(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def _zero1(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _none(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


def _imagenet(pixels: np.ndarray) -> np.ndarray:
    return (_zero1(pixels) - _IMAGENET_MEAN) / _IMAGENET_STD


def _caffe(pixels: np.ndarray) -> np.ndarray:
    """Blue first, the ImageNet mean taken off, no scaling."""
    return pixels[..., ::-1].astype(np.float32) - _CAFFE_MEAN


PREPROCESS: dict[str, Preprocess] = {
    "minus1_1": _minus1_1,
    "zero1": _zero1,
    "none": _none,
    "imagenet": _imagenet,
    "caffe": _caffe,
}
"""From uint8 pixels (n, height, width, 3) to what a network was trained on."""


def find_preprocess(name: str) -> Preprocess:
    """A way to preprocess by name, or the function `module:function` names.

    Raises `InputError` for an unknown name, `LoadError` where the function cannot be imported.
    """
    if name in PREPROCESS:
        return PREPROCESS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(PREPROCESS)
        raise InputError(
            f"--preprocess {name!r}: expected one of {known}, or module:function. "
            f"{quote_nearest(name, PREPROCESS)}"
        )
    from pellucid.adapters.loading import find_attribute

    function = find_attribute(module, attribute)
    if not callable(function):
        raise InputError(f"--preprocess {name}: {attribute} is no function.")
    return cast(Preprocess, function)
