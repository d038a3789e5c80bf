"""A model and a few methods, ready to be asked: cached, compared, drawn together."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.comparison import Comparison
from pellucid.errors import (
    CapabilityError,
    InputError,
    LayerError,
    MethodError,
    ModelError,
    PellucidError,
)
from pellucid.explain import explain, explain_each
from pellucid.explanation import Explanation
from pellucid.methods.base import Method
from pellucid.methods.registry import make_method, method_class, takes_parameter
from pellucid.model import Model, wrap
from pellucid.types import TargetLike, is_array

DEFAULT_METHODS = ("integrated_gradients", "occlusion")


class Explainer:
    """A configured set of methods for one model, with a cache by content.

    `defaults` are arguments of `explain` for every call; a method may be named with its own
    parameters as a pair `(name, {...})`. Results are kept for equal input, target, method,
    parameters and model fingerprint, so a model that was trained on is explained anew. The cache
    holds the last `cache_size` explanations.

    Raises `MethodError` at once for an unknown method or parameter.

    >>> explainer = Explainer(model, ["saliency", ("occlusion", {"window": 4})], seed=1)
    >>> sorted(explainer.compare(x))
    ['occlusion', 'saliency']
    """

    def __init__(
        self,
        model: Any,
        methods: Sequence[str | tuple[str, Mapping[str, Any]]] = DEFAULT_METHODS,
        *,
        cache_size: int = 64,
        **defaults: Any,
    ) -> None:
        if isinstance(methods, str):
            methods = [methods]
        if isinstance(cache_size, bool) or not isinstance(cache_size, int) or cache_size < 0:
            raise InputError(f"Expected cache_size to be 0 or more, got {cache_size!r}.")
        self.model: Model = wrap(model)
        self.methods = _configured(methods)
        self.target = defaults.pop("target", None)
        _check_defaults(defaults, list(self.methods))
        self.defaults = defaults
        self.cache_size = cache_size
        self._cache: OrderedDict[str, tuple[type[Method], Explanation]] = OrderedDict()

    def explain(
        self, x: Any, method: str | None = None, *, target: TargetLike = None, **parameters: Any
    ) -> Explanation:
        """One explanation, from the cache if it was made before; the first method by default."""
        name = method or next(iter(self.methods))
        target = self.target if target is None else target
        arguments = {**self.defaults, **self.methods.get(name, {}), **parameters}
        key, cls = self._key(x, name, target, arguments), method_class(name)
        if key is not None and key in self._cache:
            registered, made = self._cache[key]
            if registered is cls:  # a name can be given to another function meanwhile
                self._cache.move_to_end(key)
                return made
        made = explain(self.model, x, name, target=target, **arguments)
        self._keep(key, cls, made)
        return made

    def _keep(self, key: str | None, cls: type[Method], made: Explanation) -> None:
        if key is not None:
            self._cache[key] = (cls, made)
            while len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)

    def explain_targets(
        self,
        x: Any,
        targets: Sequence[TargetLike],
        method: str | None = None,
        **parameters: Any,
    ) -> tuple[Explanation, ...]:
        """One explanation for each of several targets, from shared forward passes.

        Each is what `explain(x, target=...)` gives, to rounding. The gradient methods run the
        model once for all targets and only pull back once for each (all but
        `guided_integrated_gradients`, whose path is each target's own): `evaluations.forward` is
        then that of all together, which `provenance["notes"]` says, and `evaluations.backward`
        each one's own. Other methods are run for one target after the other.

        >>> explainer = Explainer(model, ["saliency"])
        >>> [e.target_names[0] for e in explainer.explain_targets(x, [0, 1])]
        ['class 0', 'class 1']
        """
        if isinstance(targets, str | bytes) or not isinstance(targets, Sequence | np.ndarray):
            raise InputError(
                f"Expected a list of targets, such as [0, 1] or ['cat', 'dog'], got {targets!r}."
            )
        name = method or next(iter(self.methods))
        wanted, cls = list(targets), method_class(name)
        if len(wanted) < 2 or not cls.shares_forward:
            return tuple(self.explain(x, name, target=t, **parameters) for t in wanted)
        arguments = {**self.defaults, **self.methods.get(name, {}), **parameters}
        keys = [self._key(x, name, t, arguments) for t in wanted]
        found: list[Explanation | None] = []
        for key in keys:
            registered, made = self._cache.get(key or "", (None, None))
            found.append(made if registered is cls else None)
        missing = [i for i, made in enumerate(found) if made is None]
        if missing:
            made = explain_each(
                self.model, x, name, [wanted[i] for i in missing],
                **{k: v for k, v in arguments.items() if k in _FOR_ALL},
                parameters={
                    k: v for k, v in arguments.items() if k not in _FOR_ALL and v is not None
                },
            )  # fmt: skip
            for i, one in zip(missing, made, strict=True):
                found[i] = one
                self._keep(keys[i], cls, one)
        return tuple(e for e in found if e is not None)

    def compare(self, x: Any, *, target: TargetLike = None, **parameters: Any) -> Comparison:
        """All methods on the same inputs; one that fails is named, the others are kept.

        What a method says against the inputs is its own failure where another can explain them,
        such as a baseline that does not fit; otherwise it is raised.
        """
        made: dict[str, Explanation] = {}
        failures: dict[str, str] = {}
        refused: dict[str, InputError] = {}
        for name in self.methods:
            try:
                made[name] = self.explain(x, name, target=target, **parameters)
            except PellucidError as error:
                if not isinstance(error, InputError) and not self._is_about_method(error):
                    raise
                failures[name] = str(error)
                if isinstance(error, InputError) and not self._is_about_method(error):
                    refused[name] = error
        if refused and not made:
            raise _refusal(refused)
        return Comparison(made, failures)

    def evaluate(self, x: Any, *, target: TargetLike = None, **options: Any) -> Any:
        """All methods judged by the standard on the same inputs: a `Scorecard`.

        `options` are those of `pellucid.evaluate`.
        """
        from pellucid.standard import evaluate

        found = self.compare(x, target=target)
        return evaluate(self.model, x, found, target=self.target if target is None else target,
                        **options)  # fmt: skip

    def search(self, x: Any, goal: Any = None, **options: Any) -> Any:
        """What meets a goal best of its methods: a `SearchResult`.

        Where the goal names methods, those are searched. `options` are those of `pellucid.search`.
        """
        from pellucid.search import search
        from pellucid.search.search import goal_of

        return search(self.model, x, goal_of(goal, list(self.methods.items())),
                      **{"target": self.target, **options})  # fmt: skip

    def visualize_all(
        self,
        x: Any,
        save_path: str | Path,
        *,
        target: TargetLike = None,
        evaluate: bool | Mapping[str, Any] = False,
        **parameters: Any,
    ) -> list[Path]:
        """A picture of every method for every sample, and `report.html`, in a folder.

        With `evaluate=True` the page ends with the scorecard of the methods; a mapping holds
        options of `pellucid.evaluate`, such as `{"standard": ["C1", "C2"]}`.

        Returns the files written, the page first. Raises `CapabilityError` where no method works.
        """
        from pellucid.reports.folder import write_folder

        found = self.compare(x, target=target, **parameters)
        if not found.explanations:
            reasons = "\n  ".join(f"{name}: {why}" for name, why in found.failures.items())
            raise CapabilityError(f"None of the methods could explain this model.\n  {reasons}")
        card = None
        if evaluate is not False:
            from pellucid.standard import evaluate as judge

            card = judge(self.model, x, found, target=self.target if target is None else target,
                         **(evaluate if isinstance(evaluate, Mapping) else {}))  # fmt: skip
        return write_folder(
            self.model, found.explanations, Path(save_path), failures=found.failures,
            scorecard=card,
        )  # fmt: skip

    @staticmethod
    def _is_about_method(error: PellucidError) -> bool:
        return isinstance(error, CapabilityError | LayerError | MethodError | ModelError)

    def _key(self, x: Any, name: str, target: Any, arguments: Mapping[str, Any]) -> str | None:
        """A hash of all that decides the result; None where something cannot be hashed.

        A function may depend on anything (a refitted estimator, a global), so only models that
        show their weights are cached.
        """
        if self.model.supports < Tier.TRAINABLE:
            return None
        hidden = {"progress", "batch_size"}
        try:
            settings = {k: _content(v) for k, v in sorted(arguments.items()) if k not in hidden}
            asked = repr((name, _content(target), settings))
        except TypeError:
            return None
        digest = hashlib.sha256(self.model.fingerprint().encode())
        batch = self.model.accept(x)
        for array in (*batch.arrays, *(d for d in batch.display if d is not None)):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((batch.batched, batch.structure, asked)).encode())
        return digest.hexdigest()


_FOR_ALL = frozenset({"seed", "batch_size", "progress"})


def _refusal(refused: Mapping[str, InputError]) -> InputError:
    """What all methods say of the inputs; with their names where each says something else."""
    first = next(iter(refused.values()))
    if len({str(error) for error in refused.values()}) == 1 < len(refused):
        return first
    named = InputError("\n".join(f"{name}: {error}" for name, error in refused.items()))
    named.__cause__ = first
    return named


def _check_defaults(defaults: Mapping[str, Any], names: list[str]) -> None:
    for key in defaults:
        if key not in _FOR_ALL and not any(takes_parameter(n, key) for n in names):
            raise MethodError(
                f"None of {', '.join(names)} takes the parameter {key!r}.\n  For every call:"
                f" target, {', '.join(sorted(_FOR_ALL))}; pellucid.methods() lists the methods."
            )


def _configured(
    methods: Sequence[str | tuple[str, Mapping[str, Any]]],
) -> dict[str, dict[str, Any]]:
    """Each method's own parameters, by name; checked."""
    found: dict[str, dict[str, Any]] = {}
    for entry in methods:
        pair = (entry, {}) if isinstance(entry, str) else entry
        fits = isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[1], Mapping)
        if not fits:
            raise InputError(
                "Expected each method to be a name or a pair such as"
                f' ("occlusion", {{"window": 8}}), got {entry!r}.'
            )
        name, parameters = pair
        method_class(name)
        if parameters:
            make_method(name, parameters)
        if found.get(name, parameters) != parameters:
            raise InputError(
                f"{name} is listed twice with different parameters, and results go by the method's"
                " name.\n  Make an Explainer for each setting."
            )
        found[name] = dict(parameters)
    if not found:
        raise InputError(
            "Expected at least one method, such as Explainer(model, ['integrated_gradients'])."
        )
    return found


def _content(value: Any) -> Any:
    """A value's content in a form that has a stable text; `TypeError` where it has none."""
    if isinstance(value, Mapping):
        return {k: _content(v) for k, v in sorted(value.items())}
    if isinstance(value, list | tuple):
        return type(value).__name__, [_content(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if is_array(value):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError("objects have no content to compare")
        return (array.shape, str(array.dtype), hashlib.sha256(array.tobytes()).hexdigest())
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no content to compare")
