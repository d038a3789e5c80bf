"""A wrapped model: an adapter, and what the user told us about inputs and outputs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter, InputSpec, LayerInfo, OperationInfo, Tier
from pellucid.adapters.registry import make_adapter
from pellucid.counting import CountedModel
from pellucid.engine.choice import Choice
from pellucid.errors import InputError, ModelError, PellucidError, TargetError
from pellucid.inputs.layout import input_dims, modality
from pellucid.types import Leaves, Outputs, shape_of

OUTPUTS = ("auto", "logit", "probability")


@dataclass(frozen=True)
class Batch:
    """A user's inputs as the model takes them: native leaves, and what to call them.

    `arrays` are the leaves in NumPy; `display` uint8 pictures, where there are any; `batched`
    is False where a missing batch axis was added.
    """

    leaves: Leaves
    arrays: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    dims: tuple[tuple[str, ...], ...]
    display: tuple[np.ndarray | None, ...]
    columns: tuple[str, ...] | None
    batched: bool
    structure: Any

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])


@dataclass(frozen=True, eq=False)
class Model:
    """Any supported model behind one interface; made by `wrap`, never changed.

    `supports` is the highest tier of questions it answers.
    """

    adapter: Adapter
    output: str = "auto"
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    preprocess: Callable[[Any], Any] | None = None
    tokenizer: Any = None
    input_shapes: tuple[tuple[int | None, ...], ...] | None = None
    source: str | None = None
    batch_sizes: dict[str, Choice] = field(default_factory=dict, repr=False)
    layer_calls: dict[Any, tuple[LayerInfo, ...]] = field(default_factory=dict, repr=False)
    layer_choices: dict[Any, str] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Framework, tier, and where it came from."""
        classes = "" if self.class_names is None else f", {len(self.class_names)} named classes"
        source = "" if self.source is None else f", from {self.source}"
        return f"<Model: {self.framework}, {self.supports.name.lower()}{classes}{source}>"

    @property
    def framework(self) -> str:
        return self.adapter.framework

    @property
    def supports(self) -> Tier:
        return self.adapter.supports

    @property
    def peel(self) -> bool:
        return self.output != "probability"

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        """What the model expects, as it says itself or as the user said in `wrap`."""
        if self.input_shapes is not None:
            return tuple(InputSpec(f"input {i}", s, None) for i, s in enumerate(self.input_shapes))
        return self.adapter.inputs

    def fingerprint(self) -> str:
        """A short hash of structure and weights; a trained model has another one."""
        return self.adapter.fingerprint()

    def layers(self, x: Any = None) -> tuple[LayerInfo, ...]:
        """The model's layers; with inputs `x`, one entry a call, with output shapes."""
        return self.adapter.layers(None if x is None else self.accept(x).leaves)

    def operations(self, x: Any) -> tuple[OperationInfo, ...]:
        """Every operation of one run on `x`."""
        return self.adapter.operations(self.accept(x).leaves)

    def predict(self, x: Any) -> np.ndarray | Any:
        """The model's own outputs for `x`, in NumPy: probabilities where it ends in a softmax."""
        batch = self.accept(x)
        outputs = run_checked(CountedModel(self.adapter, peel=False), batch.leaves, self.adapter)
        return _to_numpy(outputs, self.adapter)

    def accept(self, x: Any) -> Batch:
        """`x` checked and brought into the model's form; `x` itself is never written to.

        Raises `InputError` for a wrong rank or size, NaN or infinity (rows named), an empty
        batch, or inputs of different lengths.
        """
        raw = x
        if self.preprocess is not None:
            try:
                # A copy: Keras's own preprocess_input works in place.
                x = self.preprocess(_copied(x))
            except Exception as error:
                raise InputError(f"preprocess raised {type(error).__name__}: {error}") from error
        try:
            leaves = self.adapter.accept(x)
        except PellucidError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Expected an array of numbers, or a tuple or dict of them, got a"
                f" {type(x).__name__} that is none: {error}"
            ) from error
        specs = self.inputs
        if specs is not None and len(specs) != len(leaves):
            if not all(s.certain for s in specs):
                specs = None
            else:
                raise InputError(
                    f"Expected {len(specs)} inputs ({', '.join(s.name for s in specs)}),"
                    f" got {len(leaves)}."
                )
        structure = self.adapter.restore(list(range(len(leaves))))
        names = _names(structure, len(leaves), specs, said=self.input_shapes is None)
        for leaf, name, spec in zip(leaves, names, specs or (None,) * len(leaves), strict=True):
            wants_text = spec is None or spec.dtype in {None, "string"}
            if "string" in str(leaf.dtype) and not wants_text:
                raise InputError(f"Expected numbers for {name}, got text.")
        missing = [
            _lacks_batch_axis(tuple(a.shape), specs[i] if specs else None)
            for i, a in enumerate(leaves)
        ]
        if any(missing):
            if not all(missing):
                raise InputError(
                    "Some inputs have a batch axis and some have none: "
                    + ", ".join(f"{n} {tuple(a.shape)}" for n, a in zip(names, leaves, strict=True))
                )
            leaves = tuple(self.adapter.xp.expand_dims(a, axis=0) for a in leaves)
        arrays = tuple(np.asarray(self.adapter.to_numpy(a)) for a in leaves)
        _check(arrays, names, specs)
        dims = tuple(input_dims(a.ndim, self.adapter.channel_axis_of(a.ndim)) for a in arrays)
        return Batch(
            leaves=leaves,
            arrays=arrays,
            names=names,
            dims=dims,
            columns=_columns(raw),
            display=_display(raw, arrays, dims, changed=self.preprocess is not None),
            batched=not any(missing),
            structure=structure,
        )

    def modality(self, batch: Batch) -> str:
        """The kind of the first input: "image", "series", "volume", "table" or "array"."""
        return modality(batch.dims[0])

    def explained(self, leaves: Leaves) -> str:
        """What kind of number is explained: "logit", "probability" or "output"."""
        final = self.adapter.final_activation(leaves)
        if not any(final):
            # Nobody can look into a plain function, so its user's word is taken.
            told = self.supports == Tier.CALLABLE and self.output != "auto"
            return self.output if told else "output"
        return "logit" if self.peel else "probability"


def wrap(
    model: Any,
    *,
    framework: str | None = None,
    inputs: Any = None,
    output: str = "auto",
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    preprocess: Callable[[Any], Any] | None = None,
    tokenizer: Any = None,
    example: Any = None,
) -> Model:
    """Any supported model as a `Model`; a `Model` passes through.

    `framework` forces an adapter ("torch", "tensorflow", "keras", "jax", "callable"). `inputs` is
    the shape of one input without the batch axis, or a list of such shapes, for models that do
    not say. `output="probability"` keeps a final softmax or sigmoid, which is taken off otherwise.
    `preprocess` turns what the user has (say, uint8 pictures) into what the model takes; the
    pictures are then shown as they were. `example` helps to recognise a plain function: one that
    is given torch tensors is taken for torch.

    Raises `CapabilityError` for an object that cannot be explained, `MissingExtraError` for an
    absent framework, `InputError` for options that contradict each other. Options given with a
    `Model` make a copy of it that has them; `framework` and `inputs` cannot be changed any more.

    >>> wrap(lambda x: x @ w, feature_names=["age", "height"]).framework
    'callable'
    """
    if output not in OUTPUTS:
        raise InputError(f"Expected output to be one of {OUTPUTS}, got {output!r}.")
    options = {
        "class_names": _listed("class_names", class_names),
        "feature_names": _listed("feature_names", feature_names),
        "preprocess": preprocess,
        "tokenizer": tokenizer,
    }
    if isinstance(model, Model):
        return _with_options(model, options, output, framework=framework, inputs=inputs)
    adapter = make_adapter(model, framework, example)
    if options["class_names"] is None:
        options["class_names"] = adapter.class_names
    if options["feature_names"] is None:
        options["feature_names"] = adapter.feature_names
    return Model(
        adapter=adapter,
        output=output,
        input_shapes=_shapes(inputs),
        **options,
    )


def _listed(option: str, names: Any) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str | Mapping) or not isinstance(names, Iterable):
        raise InputError(
            f"Expected {option} to be a list of names in the order of their numbers, not one"
            f" {type(names).__name__}, got {names!r:.80}."
        )
    return tuple(map(str, names))


def _with_options(
    model: Model, options: dict[str, Any], output: str, *, framework: Any, inputs: Any
) -> Model:
    if framework not in {None, model.framework} or inputs is not None:
        raise InputError(
            f"This model is wrapped already, as a {model.framework} model, so its framework and"
            " inputs are settled.\n  Give them when the original model is wrapped."
        )
    changed = {name: value for name, value in options.items() if value is not None}
    if output not in {"auto", model.output}:
        changed["output"] = output
    return replace(model, **changed) if changed else model


def run_checked(
    counted: CountedModel, leaves: Leaves, adapter: Adapter, samples: np.ndarray | None = None
) -> Outputs:
    """The model's outputs, or an error that says which rows it failed on and how.

    `samples` are the numbers of the rows in the user's batch. Raises `ModelError` for an exception
    in the model, outputs of another length than the batch, and outputs that are not finite.
    """
    with model_errors(counted, leaves, adapter, samples):
        outputs = counted.run(leaves)
    check_outputs(outputs, int(leaves[0].shape[0]), adapter, samples)
    return outputs


@contextmanager
def model_errors(
    counted: CountedModel,
    leaves: Leaves,
    adapter: Adapter,
    samples: np.ndarray | None = None,
    what: str = "rows",
) -> Iterator[None]:
    """Make a `ModelError` of what the model raises; memory's end and our own errors pass."""
    try:
        yield
    except Exception as error:
        if adapter.is_out_of_memory(error) or isinstance(error, PellucidError):
            raise
        numbers = np.arange(int(leaves[0].shape[0])) if samples is None else samples
        raise _explain_failure(counted, leaves, error, numbers, what) from error


def _explain_failure(
    counted: CountedModel, leaves: Leaves, error: Exception, samples: np.ndarray, what: str
) -> ModelError:
    rows = int(leaves[0].shape[0])
    bad = []
    if 1 < rows <= 256:
        for i in range(rows):
            try:
                counted.run(tuple(a[i : i + 1] for a in leaves))
            except Exception:
                bad.append(i)
    named = sorted({int(samples[i]) for i in bad})
    where = f" on the {what} {named} of the batch" if 0 < len(bad) < rows else ""
    shapes = ", ".join(f"{tuple(a.shape)} {a.dtype}" for a in leaves)
    first = str(error).strip().split("\n")[0][:300]
    return ModelError(
        f"The model raised {type(error).__name__}{where}: {first}\n"
        f"  It was given {shapes}. Check the shape, the layout (channels first or last) and the"
        " preprocessing" + ("; the other rows run." if where else ".")
    )


def check_outputs(
    outputs: Outputs, rows: int, adapter: Adapter, samples: np.ndarray | None = None
) -> None:
    """Raise `ModelError` unless every output is one finite row a sample."""
    numbers = np.arange(rows) if samples is None else samples
    for array in _arrays_in(outputs):
        shape = shape_of(array)
        if not shape or shape[0] != rows:
            raise ModelError(
                f"Expected the model to return one row for each of the {rows} samples, got"
                f" {f'shape {shape}' if shape else f'a {type(array).__name__} without rows'}.\n"
                "  A model that returns one number for the whole batch cannot be explained."
            )
        values = np.asarray(adapter.to_numpy(array))
        if values.dtype.kind not in "fiubc":
            raise ModelError(
                f"Expected the model to return numbers, got an array of {values.dtype}.\n  Explain"
                " a function that returns scores, such as predict_proba instead of predict."
            )
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            bad = numbers[~np.isfinite(values.reshape(rows, -1)).all(axis=1)].tolist()
            raise ModelError(
                f"The model returned NaN or infinity for the rows {bad[:20]} of the batch.\n"
                "  Leave them out, or look at what the model computes there."
            )


def single_output(outputs: Outputs) -> Outputs:
    """The only array of `outputs`; anything else as it is, for a callable target to read."""
    if isinstance(outputs, tuple | list) and len(outputs) == 1:
        return outputs[0]
    if isinstance(outputs, dict) and len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs


def check_class_names(names: tuple[str, ...] | None, outputs: Outputs) -> None:
    """Raise `TargetError` unless there is one name a class (or two for a single output)."""
    shape = shape_of(outputs)
    if names is None or len(shape) not in {1, 2}:
        return
    classes = 1 if len(shape) == 1 else shape[1]
    if len(names) != classes and not (classes == 1 and len(names) == 2):
        raise TargetError(
            f"The model has {classes} outputs, but {len(names)} class names were given."
        )


def _arrays_in(outputs: Outputs) -> list[Any]:
    if isinstance(outputs, dict):
        return [a for value in outputs.values() for a in _arrays_in(value)]
    if isinstance(outputs, tuple | list):
        return [a for value in outputs for a in _arrays_in(value)]
    return [outputs]


def _to_numpy(outputs: Outputs, adapter: Adapter) -> Any:
    if isinstance(outputs, dict):
        return {key: _to_numpy(value, adapter) for key, value in outputs.items()}
    if isinstance(outputs, tuple | list):
        return tuple(_to_numpy(value, adapter) for value in outputs)
    return adapter.to_numpy(outputs)


def _shapes(inputs: Any) -> tuple[tuple[int | None, ...], ...] | None:
    if inputs is None:
        return None
    listed = isinstance(inputs, tuple | list)
    given = list(inputs) if listed else [inputs]
    nested = given and all(isinstance(s, tuple | list) for s in given)
    shapes = given if nested else [given]
    if not listed or not all(_is_size(d) for s in shapes for d in s):
        raise InputError(
            "Expected inputs to be the shape of one input without the batch axis, such as"
            f" (224, 224, 3), or a list of such shapes, got {inputs!r}."
        )
    return tuple(tuple(None if d is None else int(d) for d in s) for s in shapes)


def _is_size(d: Any) -> bool:
    whole = isinstance(d, int | np.integer) and not isinstance(d, bool)
    return d is None or (whole and int(d) > 0)


def _copied(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.copy()
    if type(x) is dict:
        return {key: _copied(part) for key, part in x.items()}
    if type(x) in {list, tuple}:
        return type(x)(map(_copied, x))
    return x


def _names(
    structure: Any, count: int, specs: tuple[InputSpec, ...] | None, *, said: bool
) -> tuple[str, ...]:
    """What each leaf is called: by the model if it says so, else by the keys of a dict."""
    if isinstance(structure, dict) and not (said and specs and all(s.certain for s in specs)):
        keys = {number: str(key) for key, number in structure.items() if isinstance(number, int)}
        if len(keys) == count:
            return tuple(keys[i] for i in range(count))
    if specs:
        return tuple(s.name for s in specs)
    return ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))


def _lacks_batch_axis(shape: tuple[int, ...], spec: InputSpec | None) -> bool:
    if spec is None or spec.shape is None:
        return len(shape) == 1
    wanted = len(spec.shape)
    if len(shape) == wanted:
        return True
    if len(shape) == wanted + 1 or not spec.certain:
        return False
    raise InputError(
        f"Expected {spec.name} to have shape {_shown(spec)}, with or without a batch axis,"
        f" got {len(shape)} axes: {shape}."
    )


def _shown(spec: InputSpec) -> str:
    inner = ", ".join("any" if d is None else str(d) for d in spec.shape or ())
    return f"({inner})"


def _check(
    arrays: tuple[np.ndarray, ...],
    names: tuple[str, ...],
    specs: tuple[InputSpec, ...] | None,
) -> None:
    lengths = {a.shape[0] for a in arrays if a.ndim}
    if any(a.ndim == 0 for a in arrays):
        raise InputError("Expected arrays with at least one axis, got a single number.")
    if len(lengths) > 1:
        raise InputError(f"The inputs have different numbers of samples: {sorted(lengths)}.")
    if 0 in lengths:
        raise InputError("The batch is empty: there is nothing to explain.")
    for i, (a, name) in enumerate(zip(arrays, names, strict=True)):
        spec = specs[i] if specs else None
        if a.size == 0:
            raise InputError(f"{name} has an empty axis: shape {a.shape}.")
        if spec is not None and spec.certain and spec.shape is not None:
            fits = all(w is None or w == g for w, g in zip(spec.shape, a.shape[1:], strict=True))
            if not fits:
                raise InputError(
                    f"Expected {name} to have shape {_shown(spec)} per sample, got {a.shape[1:]}."
                    + _shape_hint(spec.shape, a.shape)
                )
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            bad = np.flatnonzero(~np.isfinite(a.reshape(len(a), -1)).all(axis=1))
            raise InputError(
                f"{name} holds NaN or infinity in the rows {bad[:20].tolist()} of the batch.\n"
                "  Impute or drop them: no method can attribute to a number that is missing."
            )


def _shape_hint(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    """What to do about a shape, where it is one of the usual mistakes."""

    def fits(shape: tuple[int, ...]) -> bool:
        pairs = zip(wanted, shape, strict=False)
        return len(shape) == len(wanted) and all(w is None or w == g for w, g in pairs)

    if len(given) > 2 and fits((*given[2:], given[1])):
        return "\n  The channels come last here: numpy.moveaxis(x, 1, -1)."
    if len(given) > 2 and fits((given[-1], *given[1:-1])):
        return "\n  The channels come first here: numpy.moveaxis(x, -1, 1)."
    if fits((*given[1:], 1)) or fits((*given, 1)[1:]):
        return "\n  The channel axis is missing: x[..., None]."
    return ""


def _columns(raw: Any) -> tuple[str, ...] | None:
    """The column names of a data frame."""
    columns = getattr(raw, "columns", None)
    return None if columns is None else tuple(map(str, columns))


def _display(
    raw: Any, arrays: tuple[np.ndarray, ...], dims: tuple[tuple[str, ...], ...], *, changed: bool
) -> tuple[np.ndarray | None, ...]:
    """The raw pictures, where the model is fed preprocessed uint8 ones of the same layout."""
    nothing: tuple[np.ndarray | None, ...] = (None,) * len(arrays)
    if not changed or len(arrays) != 1 or not hasattr(raw, "shape"):
        return nothing
    picture = np.asarray(raw)
    if picture.ndim == arrays[0].ndim - 1:
        picture = picture[None]
    space = [i for i, d in enumerate(dims[0]) if d in {"height", "width"}]
    fits = (
        picture.dtype == np.uint8
        and picture.ndim == 4
        and picture.shape[0] == arrays[0].shape[0]
        and picture.shape[-1] in {1, 3}
        and len(space) == 2
        and picture.shape[1:3] == tuple(arrays[0].shape[i] for i in space)
    )
    return (picture,) if fits else nothing
