"""The work of `pellucid explain`: load, read, explain, write, report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli import console, models, writing
from pellucid.cli.parameters import Preprocess
from pellucid.cli.pixels import (
    find_unreadable,
    input_layout,
    read_pictures,
    with_preprocess,
)
from pellucid.cli.targets import TargetWord
from pellucid.errors import (
    CapabilityError,
    MethodError,
    ModelError,
)

if TYPE_CHECKING:
    from pellucid.explanation import Explanation
    from pellucid.model import Model


@dataclass(frozen=True)
class Request:
    """What the command line asked for, checked as far as it can be without the model.

    `settings` are the named arguments of `pellucid.explain`, `parameters` those of each method.
    """

    model: str
    images: tuple[Path, ...]
    methods: tuple[str, ...]
    targets: tuple[TargetWord, ...]
    out: Path | None
    formats: frozenset[str]
    settings: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]
    class_names: tuple[str, ...] | None = None
    preprocess: Preprocess | None = None
    preprocess_name: str | None = None
    size: tuple[int, int] | None = None
    trust: str | None = None
    progress: bool = True
    as_json: bool = False


@dataclass
class Outcome:
    """What came of it: one entry a method and target, what failed, and what was written."""

    done: list[tuple[TargetWord, "Explanation"]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def run(request: Request, *, dry_run: bool = False) -> bool:
    """Do what was asked and print the result; whether all of it succeeded.

    Raises the errors of arguments and of loading. What fails for one image or one method is
    named, and the rest goes on.
    """
    check_methods(request)
    facts = models.file_facts(request.model)
    check_class_names(request, is_demo=facts is None and request.model == models.DEMO)
    # Seconds before the model is loaded, not after.
    unreadable = find_unreadable(request.images)
    if dry_run:
        show = console.result_json if request.as_json else _print_plan
        show(plan(request, facts, unreadable))
        return not unreadable
    for message in unreadable.values():
        console.error(message)
    good = [path for path in request.images if str(path) not in unreadable]
    if not good:
        raise ModelError("no picture could be read; nothing was explained.")
    model = models.open_model(request.model, request.trust, facts, class_names=request.class_names)
    height, width, channels = input_layout(model, request.size)
    pictures = read_pictures(good, height, width, unreadable)
    if request.preprocess is None and model.preprocess is None:
        console.say("No --preprocess given: the model gets pixel values from 0 to 255.")
    model = with_preprocess(model, request.preprocess, request.preprocess_name, channels)
    outcome = explain_all(request, model, pictures.pixels)
    outcome.files = writing.write(request, model, pictures, outcome)
    document = writing.document(request, model, pictures, outcome)
    if request.as_json:
        console.result_json(document)
    else:
        writing.print_result(document)
    return not pictures.unreadable and not outcome.failed


def check_methods(request: Request) -> None:
    """Raise `MethodError` for an unknown method or parameter before anything is loaded."""
    if not request.methods:
        raise MethodError("--method names no method. See: pellucid methods.")
    from pellucid.methods.registry import make_method

    given = {name: request.settings.get(name) for name in _OF_METHODS}
    common = {name: value for name, value in given.items() if value is not None}
    for name in request.methods:
        try:
            make_method(name, {**common, **request.parameters.get(name, {})})
        except TypeError as error:
            raise MethodError(f"{name}: {error}.") from error


_OF_METHODS = ("layer", "baseline", "budget", "tolerance")


def check_class_names(request: Request, *, is_demo: bool) -> None:
    """Raise `TargetError` for a class that is not among the names known before the model is."""
    names, checked = request.class_names, _named_targets(request.targets)
    if names is None and is_demo:
        from pellucid.demo.weights import imagenet_class_names

        names, checked = imagenet_class_names(), list(request.targets)
    if names is None:
        return
    import numpy as np

    from pellucid.targets import resolve_target

    outputs = np.zeros((1, len(names)), np.float32)
    for target in checked:
        resolve_target(target, outputs, 1, names, explained="logit", to_numpy=np.asarray)


def _named_targets(targets: tuple[TargetWord, ...]) -> list[str]:
    """The class names among the targets; what numbers there are, only the model knows."""
    words = [word for t in targets for word in (t if isinstance(t, tuple) else (t,))]
    return [word for word in words if isinstance(word, str)]


def explain_all(request: Request, model: "Model", x: Any) -> Outcome:
    """Every method for every target, all pictures or rows as one batch.

    A method that cannot explain this model is noted and the others go on; wrong targets,
    layers and parameters are raised.
    """
    import pellucid

    outcome = Outcome()
    for target in request.targets:
        for method in request.methods:
            title = method if len(request.targets) == 1 else f"{method}, {target or 'top'}"
            with console.progress_bar(title, wanted=request.progress) as advance:
                try:
                    explanation = pellucid.explain(
                        model,
                        x,
                        method,
                        target=target,
                        progress=advance,
                        **{**request.settings, **request.parameters.get(method, {})},
                    )
                except (CapabilityError, ModelError) as error:
                    outcome.failed[title] = str(error)
                    continue
            for warning in explanation.warnings:
                console.say(f"{title}: {warning}")
            outcome.done.append((target, explanation))
    for title, message in outcome.failed.items():
        console.error(f"{title}: {message}")
    return outcome


def plan(request: Request, facts: Any, unreadable: Mapping[str, str]) -> dict[str, Any]:
    """What a run would do, with the methods' cost, found without loading the model."""
    from pellucid.adapters.loading.trust import describe
    from pellucid.methods.registry import method_class

    missing = [str(path) for path in request.images if not path.is_file()]
    return {
        "model": request.model,
        "file": None if facts is None else describe(facts),
        "images": [str(path) for path in request.images],
        "missing_images": missing,
        "unreadable": dict(unreadable),
        "targets": ["top" if target is None else target for target in request.targets],
        "methods": [{"name": n, "cost": method_class(n).cost} for n in request.methods],
        "settings": dict(request.settings),
        "parameters": {name: dict(p) for name, p in request.parameters.items() if p},
        "explanations": len(request.images) * len(request.methods) * len(request.targets),
        "out": None if request.out is None else str(request.out),
        "formats": sorted(request.formats),
    }


def _print_plan(document: dict[str, Any]) -> None:
    file = document["file"]
    if file is not None:
        console.result(f"model: {document['model']} ({file['title']}, sha256 {file['sha256']})")
        console.result(f"runs code: {file['runs_code']}")
    else:
        console.result(f"model: {document['model']}")
    for method in document["methods"]:
        console.result(f"method: {method['name']}, cost per image: {method['cost'] or 'unknown'}")
    console.result(f"explanations: {document['explanations']}")
    for path, why in document["unreadable"].items():
        missing = path in document["missing_images"]
        console.result(f"missing image: {path}" if missing else f"unreadable image: {why}")
    console.result(f"written to: {document['out'] or 'nothing, stdout only'}")
