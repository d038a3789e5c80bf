"""Explanations as xarray Datasets, and on disk as Zarr: labelled arrays and JSON, no pickle."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from pellucid.errors import LoadError
from pellucid.explanation import Explanation, Part
from pellucid.inputs.features import Features
from pellucid.plain import plain, structure_in, structure_out
from pellucid.types import Evaluations

if TYPE_CHECKING:
    import xarray

FORMAT = "pellucid-explanation"
FORMAT_VERSION = 1

_PER_SAMPLE = ("target", "prediction", "score", "baseline_score", "gap")
_PART_ARRAYS = ("values", "inputs", "baseline", "stderr", "display")


def to_dataset(e: Explanation) -> "xarray.Dataset":
    """The explanation with named axes: `values`, `inputs`, `score`, ... (see `Explanation`).

    With several inputs the arrays of each are called `values:<input>` and so on.
    """
    import xarray

    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {
        "sample": np.arange(len(e)),
        "target_name": ("sample", np.array(e.target_names, dtype=str)),
        "prediction_name": ("sample", np.array(e.prediction_names, dtype=str)),
    }
    several = len(e.parts) > 1
    for i, part in enumerate(e.parts):
        suffix = f":{part.name}" if several else ""
        for name in _PART_ARRAYS:
            array = getattr(part, name)
            if array is not None:
                dims = _dims(name, part, array, i if several else None)
                variables[name + suffix] = (dims, array)
        if part.units is not None:
            variables["units" + suffix] = _units_out(part, i if several else None)
        if part.feature_names is not None:
            dim = _own("feature", i if several else None)
            coordinates[f"feature_name{suffix}"] = (dim, np.array(part.feature_names, dtype=str))
    for name in _PER_SAMPLE:
        array = getattr(e, name)
        if array is not None:
            pair = np.ndim(array) == 2
            variables[name] = (("sample", "of_pair") if pair else ("sample",), array)
    for name in ("outputs", "probabilities"):
        array = getattr(e, name)
        if array is not None:
            variables[name] = (("sample", "class"), array)
    classes = None if e.outputs is None else e.outputs.shape[1]
    if e.class_names is not None and len(e.class_names) == classes:
        coordinates["class_name"] = ("class", np.array(e.class_names, dtype=str))
    for name, array in e.extras.items():
        array = np.asarray(array)
        first = [] if name in e.shared_extras else ["sample"]
        rest = [f"{name}_{k}" for k in range(array.ndim - len(first))]
        variables[f"extra:{name}"] = ((*first, *rest), array)
    return xarray.Dataset(variables, coordinates, {"pellucid": json.dumps(_header(e))})


def _units_out(part: Part, number: int | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Each position's unit; units that all samples share are there once."""
    assert part.units is not None
    places = part.units.units.astype(np.int32)
    dims = tuple(_own(d, number) for d in part.dims[1:])
    shared = len(places) == 1
    return (dims, places[0]) if shared else (("sample", *dims), places)


def _own(dim: str, part: int | None) -> str:
    """Axes of different inputs have different lengths, so each input has its own."""
    return dim if part is None or dim == "sample" else f"{dim}:{part}"


def _dims(name: str, part: Part, array: np.ndarray, number: int | None) -> tuple[str, ...]:
    if name == "display":
        dims = ("sample", "display_height", "display_width", "display_channel")
    else:
        dims = part.dims if name in {"values", "stderr"} else part.input_dims
    return tuple(_own(d, number) for d in dims[: array.ndim])


def _header(e: Explanation) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "method": e.method,
        "parameters": plain(e.parameters),
        "evaluations": list(e.evaluations),
        "seconds": e.seconds,
        "seed": e.seed,
        "explained": e.explained,
        "provenance": plain(e.provenance),
        "warnings": list(e.warnings),
        "batched": e.batched,
        "structure": structure_out(e.structure),
        "class_names": None if e.class_names is None else list(e.class_names),
        "parts": [
            {
                "name": p.name,
                "dims": list(p.dims),
                "input_dims": list(p.input_dims),
                "categories": plain(p.categories),
                "unit_names": None if p.units is None else plain(p.units.names),
                "in_equal_parts": p.in_equal_parts,
            }
            for p in e.parts
        ],
    }


def from_dataset(data: "xarray.Dataset") -> Explanation:
    """The explanation that `to_dataset` wrote. Raises `LoadError` for another Dataset."""
    try:
        header = json.loads(data.attrs["pellucid"])
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError("This is no explanation of pellucid's: its header is missing.") from error
    if header.get("format") != FORMAT or header.get("version", 0) > FORMAT_VERSION:
        raise LoadError(
            f"Expected {FORMAT} up to version {FORMAT_VERSION}, got {header.get('format')}"
            f" version {header.get('version')}: written by a newer pellucid?"
        )

    def array(name: str) -> np.ndarray | None:
        return np.asarray(data[name].values) if name in data else None

    several = len(header["parts"]) > 1
    parts = []
    for part in header["parts"]:
        suffix = f":{part['name']}" if several else ""
        names = array(f"feature_name{suffix}")
        parts.append(
            Part(
                name=part["name"],
                dims=tuple(part["dims"]),
                input_dims=tuple(part["input_dims"]),
                feature_names=None if names is None else tuple(map(str, names)),
                categories=_categories(part.get("categories")),
                units=_units_in(array(f"units{suffix}"), part),
                in_equal_parts=part.get("in_equal_parts", False),
                **{n: array(n + suffix) for n in _PART_ARRAYS},  # type: ignore[arg-type]
            )
        )
    return Explanation(
        parts=tuple(parts),
        method=header["method"],
        parameters=header["parameters"],
        target_names=tuple(map(str, data["target_name"].values)),
        prediction_names=tuple(map(str, data["prediction_name"].values)),
        outputs=array("outputs"),
        probabilities=array("probabilities"),
        evaluations=Evaluations(*header["evaluations"]),
        seconds=header["seconds"],
        seed=header["seed"],
        explained=header["explained"],
        provenance=header["provenance"],
        class_names=None if header["class_names"] is None else tuple(header["class_names"]),
        extras={
            str(n)[6:]: np.asarray(data[n].values) for n in data if str(n).startswith("extra:")
        },
        shared_extras=tuple(
            str(n)[6:] for n in data if str(n).startswith("extra:") and "sample" not in data[n].dims
        ),
        warnings=tuple(header["warnings"]),
        batched=header["batched"],
        structure=structure_in(header["structure"]),
        **{n: array(n) for n in _PER_SAMPLE},  # type: ignore[arg-type]
    )


def _units_in(places: np.ndarray | None, header: dict[str, Any]) -> Features | None:
    if places is None:
        return None
    names = header.get("unit_names")
    places = places[None] if places.ndim < len(header["dims"]) else places
    return Features(places, None if names is None else tuple(names))


def _categories(listed: Any) -> tuple[tuple[str, ...] | None, ...] | None:
    if listed is None:
        return None
    return tuple(None if words is None else tuple(words) for words in listed)


def save(e: Explanation, path: Path) -> Path:
    """Write a Zarr folder, or one file for `.zarr.zip`; whole or not at all.

    Raises `LoadError` where something stands that is no explanation of ours, and where the place
    cannot be written to: full, or not ours to write.
    """
    if not path.name.endswith((".zarr", ".zarr.zip")):
        raise LoadError(f"Expected a path that ends in .zarr or .zarr.zip, got {path.name!r}.")
    _require_free(path)
    try:
        return _saved(e, path)
    except OSError as error:
        kept = "what stood there is as it was" if path.exists() else "nothing was left there"
        raise LoadError(
            f"The explanation cannot be saved as {path}: {error}; {kept}.\n"
            "  Make room or choose another place: the explanation itself is unharmed."
        ) from error


def _saved(e: Explanation, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as place:
        folder = Path(place) / "explanation.zarr"
        _write(e.data, folder)
        if path.name.endswith(".zip"):
            made = Path(place) / "explanation.zip"
            _zip(folder, made)
            made.replace(path)
            return path
        old = Path(place) / "old"
        if path.exists():
            path.rename(old)
        try:
            folder.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
    return path


def _require_free(path: Path) -> None:
    """Raise `LoadError` unless there is nothing, an empty folder, or an explanation to replace."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if path.is_dir() and path.name.endswith(".zip"):
        raise LoadError(f"{path} is a folder; a .zarr.zip is one file.")
    if not _is_ours(path):
        raise LoadError(
            f"{path} is there and was not saved by pellucid, so it is left alone.\n"
            "  Choose another name, or remove it first."
        )


def _is_ours(path: Path) -> bool:
    try:
        if path.is_dir():
            attributes = (path / ".zattrs").read_text("utf-8")
        else:
            with zipfile.ZipFile(path) as archive:
                attributes = archive.read(".zattrs").decode("utf-8")
        return "pellucid" in json.loads(attributes)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def _write(data: "xarray.Dataset", folder: Path) -> None:
    # Zarr's format 3 has no standard for text yet; format 2 has. A slash would make a folder.
    names = {n: str(n).replace("%", "%25").replace("/", "%2F") for n in data.variables}
    data = data.rename_vars({n: quoted for n, quoted in names.items() if quoted != n})
    data.to_zarr(folder, mode="w", consolidated=False, zarr_format=2)


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())


def load(path: Path) -> Explanation:
    """Read a Zarr folder or zip. Raises `LoadError` where it is missing, damaged or another's."""
    if not path.exists():
        raise LoadError(f"No file or folder {path}.")
    import xarray

    try:
        with xarray.open_zarr(_opened(path), consolidated=False) as data:
            names = {n: unquote(str(n)) for n in data.variables if "%" in str(n)}
            return from_dataset(data.load().rename_vars(names))
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(
            f"{path} is no explanation saved by pellucid, or it is damaged:"
            f" {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _opened(path: Path) -> Any:
    if path.is_dir():
        return str(path)
    from zarr.storage import ZipStore

    return ZipStore(path, mode="r")
