"""Finding a layer by the name a person typed."""

from collections.abc import Iterable

from pellucid.errors import LayerError, quote_close


def find_layer(name: str, known: Iterable[str], *, separator: str = "/") -> str:
    """The known path that `name` means, whichever separator it was typed with.

    Raises `LayerError` with the nearest paths where there is none, and with all of them where
    the last part alone names several.
    """
    paths = list(known)
    typed = name.replace("/", separator).replace(".", separator) if separator != "" else name
    for candidate in (name, typed):
        if candidate in paths:
            return candidate
    ends = [p for p in paths if p.endswith(separator + typed)]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise LayerError(f"Several layers end in {name!r}: {', '.join(map(repr, ends))}.")
    raise LayerError(
        f"No layer {name!r} among the {len(paths)} layers of this model.\n"
        f"  {quote_close(typed, paths)} `model.layers()` lists all;"
        " layer=None chooses one where the method can."
    )
