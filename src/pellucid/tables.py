"""The table of methods: what there is, what each needs, and which run on a model."""

from dataclasses import dataclass
from html import escape
from typing import Any

from pellucid.counting import CountedModel
from pellucid.engine.schedule import Schedule
from pellucid.errors import CapabilityError, InputError, PellucidError
from pellucid.explaining.before import require_one_input, require_tier
from pellucid.inputs.layout import input_dims
from pellucid.inputs.layout import modality as kind_of
from pellucid.methods.base import Method
from pellucid.methods.registry import make_method, registered
from pellucid.model import Model, wrap
from pellucid.task import Task

MODALITIES = ("image", "series", "volume", "table", "text", "audio", "array")
_COLUMNS = ("name", "family", "needs", "modalities", "cost", "source")


@dataclass(frozen=True)
class MethodTable:
    """Methods, one row each.

    A row is a dict of name, family, needs, modalities, cost, source, what (one sentence), and,
    where a model was given, runs (True or False) and why (it does not run).
    """

    rows: tuple[dict[str, Any], ...]
    model: Model | None = None

    @property
    def names(self) -> list[str]:
        """The names of all rows, also of methods that do not run on the model."""
        return [row["name"] for row in self.rows]

    @property
    def runnable(self) -> list[str]:
        """The names of the methods that run on the model given to `methods(model=...)`.

        Raises `InputError` where none was given.
        """
        if self.rows and all(row["runs"] is None for row in self.rows):
            raise InputError(
                "What runs depends on the model, and this table was made without one.\n"
                "  methods(model=model).runnable lists the methods that run on it."
            )
        return [row["name"] for row in self.rows if row["runs"]]

    def expected(self, x: Any) -> dict[str, int]:
        """An estimate before the run: rows that the model would run at most to explain `x`.

        By method with its defaults, the prediction included, for those of which it can be told.
        Nothing is run. Raises `InputError` where the table was made without a model.

        >>> pellucid.methods(model=model).expected(x)["occlusion"]    # 2 × (99 windows + 2)
        202
        """
        if self.model is None:
            raise InputError(
                "What inputs cost depends on the model, and this table was made without one.\n"
                "  methods(model=model).expected(x) tells it."
            )
        task = _unrun(self.model, x)
        found = {name: _expected(name, task) for name in self.runnable}
        return {name: rows for name, rows in found.items() if rows is not None}

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        """Columns of text."""
        told = any(row["runs"] is not None for row in self.rows)
        columns = [*_COLUMNS, *(["runs"] if told else [])]
        table = [columns, *([_cell(row[c]) for c in columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
        return "\n".join(
            "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in table
        )

    def _repr_html_(self) -> str:
        columns = [*_COLUMNS, "runs"]
        head = "".join(f"<th>{c}</th>" for c in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_cell(row[c]))}</td>" for c in columns) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _require_kind(model: Model, method: type[Method]) -> None:
    """Raise `CapabilityError` where the model says that the method does not take its inputs."""
    specs = model.inputs
    require_one_input(len(specs or ()), method)
    if not method.modalities or not specs or not all(s.certain and s.shape for s in specs):
        return
    axis = model.adapter.channel_axis
    kinds = {kind_of(input_dims(len(s.shape) + 1, axis)) for s in specs if s.shape}
    if not kinds & method.modalities:
        raise CapabilityError(
            f"{method.name} works on inputs of the kinds {', '.join(sorted(method.modalities))};"
            f" this model's are {', '.join(sorted(kinds))}."
        )


def _unrun(model: Model, x: Any) -> Task:
    """A task over `x`, of which nothing has been run."""
    counted = CountedModel(model.adapter, peel=model.peel)
    return Task(model, model.accept(x), counted, seed=0, schedule=Schedule(), keeps_integers=False)


def _expected(name: str, task: Task) -> int | None:
    """What a method with its defaults would run, where it can be told."""
    try:
        return make_method(name, {}).expected(task)
    except (PellucidError, TypeError):  # its defaults do not fit these inputs
        return None


def methods(modality: str | None = None, model: Any = None) -> MethodTable:
    """The methods there are; with `modality`, those for it; with `model`, whether each runs on it.

    `needs` is the tier of questions a model must answer, `cost` in model evaluations (F = one
    forward of one input); `methods(model=model).expected(x)` estimates it for a batch. `runs` is
    None for methods of attention: whether a model attends, a run shows. Raises `InputError` for an
    unknown modality.

    >>> "gradcam" in methods("image").names
    True
    >>> "saliency" in methods(model=lambda x: x @ w).runnable    # a function has no gradients
    False
    """
    if modality is not None and modality not in MODALITIES:
        raise InputError(f"Expected modality to be one of {MODALITIES}, got {modality!r}.")
    wrapped = None if model is None else wrap(model)
    rows = []
    for name, cls in sorted(registered().items(), key=lambda item: (item[1].family, item[0])):
        if modality is not None and cls.modalities and modality not in cls.modalities:
            continue
        runs, why = None, None
        if wrapped is not None:
            try:
                require_tier(wrapped, cls)
                _require_kind(wrapped, cls)
                runs = True
                if cls.needs_attention:
                    runs, why = None, f"{name} works on models that attend, which a run shows"
            except CapabilityError as error:
                runs, why = False, str(error).split("\n")[0]
        rows.append(
            {
                "name": name,
                "family": cls.family,
                "needs": cls.needs.name.lower(),
                "modalities": ", ".join(sorted(cls.modalities)) or "all",
                "cost": cls.cost,
                "source": cls.source,
                "what": (cls.__doc__ or "").strip().split("\n")[0],
                "runs": runs,
                "why": why,
            }
        )
    return MethodTable(tuple(rows), wrapped)
