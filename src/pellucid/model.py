"""A wrapped model: an adapter, and what the user told us about inputs and outputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.attention import AttentionCall
from pellucid.adapters.callable import CallableAdapter
from pellucid.adapters.protocol import Adapter, InputSpec, LayerInfo, OperationInfo, Tier
from pellucid.adapters.registry import make_adapter
from pellucid.counting import CountedModel
from pellucid.engine.choice import Choice
from pellucid.errors import InputError
from pellucid.inputs.batch import Batch, checked_batch, native_leaves
from pellucid.inputs.layout import modality
from pellucid.running.outputs import outputs_to_numpy, run_checked
from pellucid.types import Leaves

if TYPE_CHECKING:
    from pellucid.coverage import Coverage

OUTPUTS = ("auto", "logit", "probability")


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
    missing_values: bool | None = None
    """Whether the model takes NaN in tables; None where only it can say."""
    batch_sizes: dict[str, Choice] = field(default_factory=dict, repr=False)
    layer_calls: dict[Any, tuple[LayerInfo, ...]] = field(default_factory=dict, repr=False)
    inventories: dict[Any, Any] = field(default_factory=dict, repr=False)
    layer_choices: dict[Any, str] = field(default_factory=dict, repr=False)
    partial_runs: dict[Any, str] = field(default_factory=dict, repr=False)
    """Why runs of this form are not made in part; "" where they are, checked against whole ones."""
    attention_calls: dict[Any, tuple[AttentionCall, ...]] = field(default_factory=dict, repr=False)

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

    def coverage(self, method: str, x: Any = None, **parameters: Any) -> "Coverage":
        """Which rule each operation of a run gets from a method, and which have none.

        One run is made, on the first rows of `x`, or on zeros where the model says what it takes.
        `parameters` are the method's; with `layer`, the operations above that layer are listed.
        Raises `InputError` where the shape of the inputs is not known, `CapabilityError` for a
        model whose operations cannot be seen, and for inputs that no operation depends on by a
        gradient, such as words without a `layer`.

        >>> wrap(model).coverage("deeplift", x).complete
        True
        """
        from pellucid.coverage import coverage

        return coverage(self, method, x, parameters)

    def predict(self, x: Any) -> np.ndarray | Any:
        """The model's own outputs for `x`, in NumPy: probabilities where it ends in a softmax."""
        batch = self.accept(x)
        outputs = run_checked(CountedModel(self.adapter, peel=False), batch.leaves, self.adapter)
        return outputs_to_numpy(outputs, self.adapter)

    def accept(self, x: Any, *, more: bool = False) -> Batch:
        """`x` checked and brought into the model's form; `x` itself is never written to.

        With `more`, rows that belong to the batch accepted before, such as a background.

        Raises `InputError` for a wrong rank or size, NaN or infinity (rows named), an empty
        batch, or inputs of different lengths. NaN in a table stands for a missing value where
        the model takes those.
        """
        said = self.missing_values
        return checked_batch(
            native_leaves(x, self.adapter, self.preprocess, more=more),
            self.adapter,
            self.inputs,
            raw=x,
            specs_by_user=self.input_shapes is not None,
            preprocessed=self.preprocess is not None,
            missing=self.adapter.takes_missing if said is None else said,
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
    missing_values: bool | None = None,
    channels: str | None = None,
) -> Model:
    """Any supported model as a `Model`; a `Model` passes through.

    `framework` forces an adapter ("torch", "tensorflow", "keras", "jax", "callable"). `inputs` is
    the shape of one input without the batch axis, or a list of such shapes, for models that do
    not say. `output="probability"` keeps a final softmax or sigmoid, which is taken off otherwise.
    `preprocess` turns what the user has (say, uint8 pictures) into what the model takes; the
    pictures are then shown as they were. `tokenizer` is kept with the model for methods on text,
    of which there is none yet. `example` is an input that helps to recognise a plain function: one
    that is given torch tensors is taken for torch; `explain` does so with its own x.
    `channels="first"` says that a plain function takes pictures and series with their channels
    before the other axes; "last" is assumed otherwise. `missing_values` says whether the model
    takes NaN in tables; scikit-learn's estimators and what has their interface (XGBoost, LightGBM)
    say it themselves.

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
        "missing_values": missing_values,
    }
    if isinstance(model, Model):
        return _with_options(model, options, output, framework=framework, inputs=inputs)
    adapter = make_adapter(model, framework, example)
    _say_channels(adapter, channels)
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


def _say_channels(adapter: Adapter, channels: str | None) -> None:
    if channels is None:
        return
    if channels not in {"first", "last"} or not isinstance(adapter, CallableAdapter):
        raise InputError(
            f"Expected channels to be 'first' or 'last', for a plain function, got {channels!r} for"
            f" a model of {adapter.framework}, which says itself where its channels are."
        )
    adapter.say_channels(1 if channels == "first" else -1)


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
            f"This model is wrapped already, as a model of {model.framework}, so its framework and"
            " inputs are settled.\n  Give them when the original model is wrapped."
        )
    changed = {name: value for name, value in options.items() if value is not None}
    if output not in {"auto", model.output}:
        changed["output"] = output
    return replace(model, **changed) if changed else model


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
