"""The command line's words for a target: `top`, `3`, `label:cat`, `label:cat/label:dog`."""

import re

from pellucid.errors import InputError

TargetWord = int | str | None | tuple[int | str, int | str]

HELP = (
    "What is explained: [b]top[/b] (each image's predicted class), a number, [b]label:cat[/b], or "
    "two with a slash, why the first rather than the second: [b]3/5[/b], "
    "[b]label:cat/label:dog[/b]. Repeatable."
)

# A slash parts two targets only before something that reads as one: labels may hold slashes.
_PAIR = re.compile(r"(?P<first>.+)/(?P<second>label:.+|\d+)", re.DOTALL)


def parse_target(word: str) -> TargetWord:
    """A target as `pellucid.explain` takes it; None is the predicted class.

    Raises `InputError` for an empty word and for `top` inside a pair.

    >>> parse_target("label:tabby/label:tiger cat")
    ('tabby', 'tiger cat')
    """
    word = word.strip()
    pair = _PAIR.fullmatch(word)
    if pair is None:
        return _parse_one(word)
    first, second = _parse_one(pair["first"]), _parse_one(pair["second"])
    if first is None or second is None:
        raise InputError(
            f"--target {word}: a pair names two classes, and top is none until the model has "
            "run.\n  Name the class: 3/5, or label:cat/label:dog."
        )
    return first, second


def _parse_one(word: str) -> int | str | None:
    word = word.strip()
    if word == "top":
        return None
    if re.fullmatch(r"\d+", word):
        return int(word)
    label = word.removeprefix("label:").strip()
    if not label:
        raise InputError(
            f"--target {word!r} names no class: expected top, a number, label:NAME, "
            "or two of those with a slash between."
        )
    return label


def file_name_part(target: TargetWord) -> str:
    """The target as part of a file name: letters, digits and dashes only."""
    if target is None:
        return "top"
    words = target if isinstance(target, tuple) else (target,)
    safe = [re.sub(r"[^\w]+", "-", str(word)).strip("-")[:40] or "class" for word in words]
    return "-vs-".join(safe)
