"""What a model is, said in plain sentences."""

from dataclasses import replace
from typing import TYPE_CHECKING

from pellucid.adapters.facts import InputSpec
from pellucid.inside.units import own_parameters, units
from pellucid.inside.ways import sums

if TYPE_CHECKING:
    from pellucid.inside.structure import Structure

_FRAMEWORKS = {
    "torch": "PyTorch",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "tensorlayer": "TensorLayer",
    "jax": "JAX",
    "onnx": "ONNX",
    "sklearn": "scikit-learn",
    "callable": "Python",
}
_FAMILIES = (
    ("several", "ensemble of models"),
    ("trees", "model of trees"),
    ("kernel", "kernel machine"),
    ("neighbours", "nearest-neighbour model"),
    ("coefficients", "linear model"),
    ("naive", "naive Bayes model"),
    ("rnn", "recurrent network"),
    ("attention", "transformer"),
    ("convolution", "convolutional network"),
    ("linear", "fully connected network"),
)


def sentences(structure: "Structure") -> tuple[str, ...]:
    """What it is, how large, where its weights are, what is unusual, what cannot be seen."""
    found = [_what(structure), _how_large(structure), _heaviest(structure), *_unusual(structure)]
    return tuple(s for s in [*found, *structure.notes] if s)


def size_words(number: int) -> str:
    """A large number as people say it: 3.5 million, 42 thousand, 512."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e4, "thousand")):
        if number >= size:
            unit = 1e3 if word == "thousand" else size
            return f"{number / unit:.3g} {word}"
    return f"{number:,}"


def bytes_words(number: int) -> str:
    """A number of bytes as people say it."""
    amount = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.3g} {unit}"
        amount /= 1000
    return ""


def family(structure: "Structure") -> str:
    """What kind of network it is, by the operations in it."""
    kinds = frozenset().union(*(n.kinds for n in structure.nodes)) if structure.nodes else set()
    if not kinds:
        return "model"
    return next((words for kind, words in _FAMILIES if kind in kinds), "function")


def _what(structure: "Structure") -> str:
    name = _FRAMEWORKS.get(structure.framework, structure.framework)
    kind = family(structure)
    takes = _takes(structure)
    gives = _gives(structure)
    article = "An" if name[0] in "AEIO" else "A"
    return f"{article} {name} {kind}{takes}{gives}."


def _takes(structure: "Structure") -> str:
    specs = _known_inputs(structure)
    if not specs or any(s.shape is None for s in specs):
        return ""
    if len(specs) > 1:
        shapes = ", ".join(f"{s.name} {_shape(s.shape)}" for s in specs)
        return f" of {len(specs)} inputs ({shapes})"
    shape = specs[0].shape or ()
    seen = [n.shape for n in structure.nodes if n.kind == "input" and n.shape]
    whole = (specs[0].dtype or "").startswith(("int", "uint"))
    guessed = not seen and not specs[0].certain
    if len(shape) == 1:
        if whole:
            return f" for sequences of {_any(shape[0])} words or other whole numbers"
        tables = f" for tables of {_any(shape[0])} columns"
        return f"{tables}, by its first weights" if guessed else tables
    if len(shape) == 3:
        first = shape[0] is not None and shape[0] <= 4 and (shape[2] is None or shape[2] > 4)
        height, width, channels = (shape[1], shape[2], shape[0]) if first else shape
        size = "any size" if height is None or width is None else f"{height} × {width} pixels"
        if size == "any size" and seen and len(seen[0]) == 3:
            sides = seen[0][1:] if first or shape[0] is not None else seen[0][:2]
            size = f"{sides[0]} × {sides[1]} pixels (the size it was given)"
        return f" for pictures of {size} with {_counted(channels)}"
    if len(shape) == 2:
        if None in shape and seen and len(seen[0]) == 2:
            return f" for series of shape {_shape(seen[0])} (the size it was given)"
        return f" for series of shape {_shape(shape)}"
    return f" for inputs of shape {_shape(shape)}"


def _known_inputs(structure: "Structure") -> list[InputSpec]:
    """What the model says it takes; where that was guessed and another came, what came."""
    specs = list(structure.inputs or ())
    seen = [n.shape for n in structure.nodes if n.kind == "input" and n.shape]
    if len(specs) != 1 or len(seen) != 1 or specs[0].certain or specs[0].shape is None:
        return specs
    sizes = [(said, came) for said, came in zip(specs[0].shape, seen[0], strict=False)]
    fits = len(specs[0].shape) == len(seen[0]) and all(s in {None, came} for s, came in sizes)
    return specs if fits else [replace(specs[0], shape=seen[0])]


def _counted(channels: int | None) -> str:
    return "any number of channels" if channels is None else _plural(channels, "channel")


def _gives(structure: "Structure") -> str:
    outputs = list(structure.outputs or ())
    if not outputs:
        return ""
    if len(outputs) > 1:
        return f" with {len(outputs)} outputs"
    last = structure.final_activation[0] if structure.final_activation else None
    shape = outputs[0] or (1,)
    if len(shape) != 1:
        return f" whose output has the shape {_shape(shape)}"
    if shape[0] == 1:
        return " that says yes or no (sigmoid)" if last == "sigmoid" else " that gives one number"
    if last in {"softmax", "log_softmax"} or structure.class_names:
        return f" that names one of {shape[0]:,} classes" + (f" ({last})" if last else "")
    if last == "sigmoid":
        return f" that says yes or no to {shape[0]:,} questions (sigmoid)"
    return f" that gives {shape[0]:,} numbers"


def _how_large(structure: "Structure") -> str:
    said = []
    if structure.layers:
        said.append(_plural(len(structure.layers), structure.unit))
    if structure.parameters is not None:
        memory = structure.parameter_bytes
        held = "" if memory is None else f" ({bytes_words(memory)})"
        said.append(f"{size_words(structure.parameters)} parameters{held}")
    text = f"It has {' and '.join(said)}" if said else ""
    if structure.multiply_adds:
        cost = (
            f"one input takes {size_words(2 * structure.multiply_adds)} floating-point operations"
        )
        if structure.activation_bytes:
            cost += f" and {bytes_words(structure.activation_bytes)} for what its steps put out"
        text = f"{text}; {cost}" if text else cost[0].upper() + cost[1:]
    return f"{text}." if text else ""


def _heaviest(structure: "Structure") -> str:
    layers, total = structure.layers, structure.parameters or 0
    own = own_parameters(layers)
    within = {e.path for e in units(layers).values()}
    steps = [e for e in layers if e.path in within]
    if len(steps) < 3 or not total:
        return ""
    most = max(own)
    heavy = [e for e, number in zip(layers, own, strict=True) if number == most]
    word = structure.unit
    beside = "" if heavy[0].path in within else ", without the layers in it"
    said = f"The {word} with the most parameters is {heavy[0].path}{beside} ({most / total:.0%})"
    if len(heavy) > 1:
        names = _named([e.path for e in heavy])
        said = f"The {word}s with the most parameters are {names} ({most / total:.0%} each)"
    # Where something outside of them works more than all of them, none of them is the busiest.
    loose = (structure.multiply_adds or 0) - sum(e.multiply_adds or 0 for e in steps)
    busiest = max((e.multiply_adds or 0 for e in steps), default=0)
    if structure.multiply_adds and busiest > loose:
        busy = [e for e in steps if e.multiply_adds == busiest]
        share = f"({busiest / structure.multiply_adds:.0%}{' each' if len(busy) > 1 else ''})"
        if busy == heavy:
            them = "it is the one" if len(busy) == 1 else "they are those"
            said += f", and {them} with the most work {share}"
        elif len(busy) == 1:
            said += f", the one with the most work {busy[0].path} {share}"
        else:
            said += f", those with the most work {_named([e.path for e in busy])} {share}"
    return f"{said}."


def _named(paths: list[str]) -> str:
    """The first three of several, and how many more."""
    more = len(paths) - 3
    if more > 0:
        return f"{', '.join(paths[:3])} and {more} more"
    return " and ".join([", ".join(paths[:-1]), paths[-1]])


def _unusual(structure: "Structure") -> list[str]:
    said = []
    shared = structure.shared
    if shared:
        named = ", ".join(f"{e.path} ({e.calls} times)" for e in shared[:4])
        more = f" and {len(shared) - 4} more" if len(shared) > 4 else ""
        said.append(f"Used more than once in a run: {named}{more}.")
    kinds = {kind for node in structure.nodes for kind in node.kinds}
    added = sums(structure.nodes, structure.edges)
    around = added.count(True)
    if added:
        where = f"In {_plural(len(added), 'place')} two paths are added"
        if around == len(added):
            where += " (residual connections)"
        elif around:
            where += f", in {around:,} of them past layers (residual connections)"
        said.append(f"{where}.")
    if structure.outputs and not any(structure.final_activation) and kinds:
        said.append(
            "It does not end in a softmax or sigmoid: its outputs are explained as they are."
        )
    elif any(structure.final_activation):
        said.append("What is explained is the score before the final activation (the logit).")
    return said


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _any(size: int | None) -> str:
    return "any number of" if size is None else f"{size:,}"


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "(" + ", ".join("any" if s is None else str(s) for s in shape or ()) + ")"
