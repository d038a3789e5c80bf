"""The plan of the house: data flows one way, and no room knows the ones after it."""

import ast
from pathlib import Path

import pytest

import pellucid

SOURCE = Path(pellucid.__file__).parent

FLOORS = [
    {"_version", "types", "errors", "arrays", "number_types", "plain", "shares", "inputs.frames"},
    {"adapters"},
    {"inputs", "engine", "counting", "targets", "target_words"},
    {"running", "layer_choice", "model", "task", "opened", "adapters.loading"},
    {"methods"},
    {"explanation", "part", "units", "feature_table"},
    {"explaining", "explain", "coverage", "tables", "plots", "store", "reproduce"},
    {"comparison", "reports", "effects", "inside", "importance", "shap_interchange"},
    {"standard"},
    {"explainer", "board"},
    {"search", "report"},
    {"__init__"},
    {"testing", "demo", "cli", "__main__"},
]
"""From the ground up: a file imports from its own floor and those below it."""

LATE = {
    ("model", "coverage"): "model.coverage(method)",
    ("explanation", "plots"): "e.plot()",
    ("explanation", "reports"): "e.to_html(), and what notebooks show",
    ("explanation", "store"): "e.save()",
    ("explanation", "reproduce"): "e.reproduce()",
    ("explanation", "importance"): "e.importance()",
    ("explanation", "standard"): "e.evaluate()",
    ("explanation", "shap_interchange"): "e.to_shap()",
    ("explainer", "search"): "explainer.search(x, goal)",
}
"""Imported upwards inside of a method only, for what a result can be asked to do with itself."""

STRANGERS = {
    "plots": {"adapters", "methods", "model", "task", "explain"},
    "reports": {"methods", "task", "explain"},
    "store": {"adapters", "methods", "model", "task", "explain"},
    "methods": {"explain", "explaining", "explanation", "explainer"},
    "explain": {"plots", "reports", "store"},
    "explaining": {"plots", "reports", "store"},
}
"""What lies side by side and still does not look at each other."""

LIMIT = 320
LONGER = {
    "adapters/jax/adapter.py": 340,
    "adapters/jax/sources.py": 340,
    "adapters/tensorflow/adapter.py": 480,
    "adapters/tensorflow/namespace.py": 370,
    "adapters/torch/cut.py": 370,
    "methods/registry.py": 380,
    "task.py": 350,
}
"""One idea each that takes more lines; they may shrink, and no other file joins them."""

PROBING = {
    "types.py": "is_array and shape_of: an array of any framework",
    "inputs/batch.py": "the columns of a data frame of any library",
    "cli/doctor.py": "whether the operating system tells the number of processors",
}

PARTS = {"adapters.loading", "inputs.frames"}
"""Parts of a room on another floor: what makes a `Model`, and what reads a data frame."""

FILES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room_of(module: str) -> str:
    inner = module.split(".")[1:]
    if ".".join(inner[:2]) in PARTS:
        return ".".join(inner[:2])
    return inner[0] if inner else "__init__"


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def floor_of(room: str) -> int:
    found = [i for i, floor in enumerate(FLOORS) if room in floor]
    assert found, f"{room} has no floor: say in FLOORS where it belongs"
    return found[0]


def imports(path: Path) -> list[tuple[str, bool]]:
    """The rooms a file imports from, and whether that is at its head; types alone do not count."""
    tree = ast.parse(path.read_text("utf-8"))
    ignored, inner = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            ignored |= set(ast.walk(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner |= set(ast.walk(node))
    found = []
    for node in ast.walk(tree):
        if node in ignored:
            continue
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "pellucid":
                names = [f"pellucid.{a.name}" for a in node.names]
                names = [
                    n
                    if (SOURCE / n.partition(".")[2]).exists()
                    or (SOURCE / f"{n.partition('.')[2]}.py").exists()
                    else "pellucid"
                    for n in names
                ]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found += [(room_of(n), node not in inner) for n in names if n.split(".")[0] == "pellucid"]
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_only_what_is_below_it(path):
    own = room_of(module_of(path))
    for room, at_head in imports(path):
        if (own, room) in LATE and not at_head:
            continue
        assert floor_of(room) <= floor_of(own), f"{own} imports {room}, which comes after it"
        assert room not in STRANGERS.get(own, set()), f"{own} imports {room}"


def is_probe(node: ast.AST) -> bool:
    """A question whether a strange object has an attribute; Python's own names do not count."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    asks = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3)
    if not asks:
        return False
    name = node.args[1]
    dunder = isinstance(name, ast.Constant) and str(name.value).startswith("__")
    return not dunder


def may_probe(path: Path) -> bool:
    """Adapters hold what is known of frameworks, testing tries what others wrote."""
    name = name_of(path)
    return name in PROBING or name.split("/")[0] in {"adapters", "testing"}


@pytest.mark.parametrize("path", [f for f in FILES if not may_probe(f)], ids=name_of)
def test_only_adapters_ask_what_an_object_has(path):
    lines = [n.lineno for n in ast.walk(ast.parse(path.read_text("utf-8"))) if is_probe(n)]
    assert not lines, f"hasattr or getattr with a default in the lines {lines}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_holds_one_idea_of_a_readable_length(path):
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LONGER.get(name_of(path), LIMIT)


def test_the_exceptions_are_still_needed():
    for name in LONGER:
        lines = len((SOURCE / name).read_text("utf-8").splitlines())
        assert lines > LIMIT, f"{name} has {lines} lines: it needs no place in LONGER"
    for name in PROBING:
        tree = ast.parse((SOURCE / name).read_text("utf-8"))
        assert any(map(is_probe, ast.walk(tree))), f"{name} asks nothing any more"
