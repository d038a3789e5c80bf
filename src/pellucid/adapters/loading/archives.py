"""Look into zip archives that hold models, without unpacking or loading anything."""

import json
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pellucid.errors import LoadError

FindingKind = Literal["code", "foreign", "malformed"]

CONFIG_LIMIT = 64 * 1024**2
"""Bytes of JSON read at most; the configuration of the largest public networks is under 5 MB."""

_BOMB_RATIO = 100
_BOMB_FLOOR = 64 * 1024**2
"""A zip that unpacks to more than 100 times its size, beyond 64 MB, is a bomb, not a model."""

_CODE_CLASSES = {
    "Lambda": "holds Python byte code",
    "__lambda__": "holds Python byte code",
    "TFSMLayer": "loads a TensorFlow program from a folder it names",
    "TorchModuleWrapper": "holds a pickled torch module",
    "JaxLayer": "holds a serialised program",
    "FlaxLayer": "holds a serialised program",
}
# Parts of Keras that do things rather than describe networks: files, downloads, global switches.
_ACTING_KERAS_MODULES = (
    "keras.utils",
    "keras.saving",
    "keras.config",
    "keras.datasets",
    "keras.callbacks",
    "keras.export",
    "keras.distribution",
    "keras.preprocessing",
    "keras.wrappers",
)
_WEIGHT_KEYS = frozenset({"units", "filters", "input_dim", "output_dim", "state_size", "key_dim"})
_SIZE_KEYS = frozenset(
    "kernel_size target_shape n pool_size size padding cropping strides dilation_rate shape"
    " batch_shape batch_input_shape input_shape output_size output_padding num_heads value_dim"
    " head_dim num_query_heads num_key_value_heads groups depth_multiplier height width"
    " input_length max_tokens num_tokens num_bins output_sequence_length rank".split()
)
_VALUE_KEYS = frozenset(
    "seed vocabulary bin_boundaries mean variance mask_value mask_token value min_value max_value"
    " value_range vocabulary_size idf_weights salt oov_token batch_size shared_object_id".split()
)
"""Settings whose numbers are no sizes, and may be large."""
_SIZE_LIMIT = 10**9


@dataclass(frozen=True)
class Finding:
    """One thing seen in a file before loading it.

    `kind` is "code" (can run code; loaded if trusted), "foreign" (a class that is not Keras's;
    fine once the user has registered it under `name`) or "malformed" (no tool writes this;
    refused even if trusted).
    """

    kind: FindingKind
    text: str
    name: str = ""


def zip_members(path: Path) -> tuple[zipfile.ZipInfo, ...]:
    """The directory of a zip archive.

    Raises `LoadError` where the archive is cut off or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise LoadError(
            f"{path} begins as a zip archive (.keras, .pt, .pt2, .skops and .npz are such), but "
            f"its directory cannot be read: {_first_line(error)}.\n"
            "  The file is cut off or damaged: copy or download it again, and compare its size."
        ) from error


def read_member(path: Path, name: str, limit: int) -> bytes:
    """At most `limit` bytes of one member of an archive.

    Raises `LoadError` where it is longer than that, damaged or encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            data = file.read(limit + 1)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, KeyError, ValueError) as error:
        raise LoadError(
            f"{name} inside {path} cannot be read: {_first_line(error)}.\n"
            "  The file is damaged: copy or download it again, or save the model anew."
        ) from error
    except Exception as error:  # zlib.error and its likes, one per compression
        raise LoadError(f"{name} inside {path} is damaged: {_first_line(error)}.") from error
    if len(data) > limit:
        raise LoadError(f"{name} inside {path} is larger than {limit / 1e6:.0f} MB; not read.")
    return data


def scan_members(path: Path, members: tuple[zipfile.ZipInfo, ...]) -> list[Finding]:
    """What is wrong with the archive as an archive: names that lead outside it, bombs, doubles."""
    findings = []
    seen: set[str] = set()
    for member in members:
        # ZipInfo cuts names at NUL; a name with one was made to be read two ways.
        name = member.orig_filename
        if leads_outside(name):
            findings.append(Finding("malformed", f"member name {name!r} leads outside the archive"))
        if stat.S_ISLNK(member.external_attr >> 16):
            findings.append(Finding("malformed", f"member {name!r} is a link"))
        if name in seen:
            findings.append(Finding("malformed", f"member name {name!r} occurs twice"))
        seen.add(name)
    unpacked = sum(member.file_size for member in members)
    packed = path.stat().st_size
    if unpacked > _BOMB_FLOOR and unpacked > _BOMB_RATIO * packed:
        text = f"size bomb: {packed:,} bytes that unpack to {unpacked:,}"
        findings.append(Finding("malformed", text))
    return findings


def leads_outside(name: str) -> bool:
    """Whether a relative file name, as any system reads it, leaves the folder it starts from."""
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or "\0" in name or bool(re.match(r"[A-Za-z]:", name))


def scan_keras_config(path: Path, weight_bytes: int) -> list[Finding]:
    """What the `config.json` of a `.keras` file would make Keras do beyond building its layers.

    Raises `LoadError` where the configuration is no JSON object.
    """
    try:
        config = json.loads(read_member(path, "config.json", CONFIG_LIMIT))
    except (ValueError, RecursionError) as error:
        raise LoadError(
            f"config.json inside {path} is no readable JSON: {_first_line(error)}.\n"
            "  The file is damaged: save the model again with model.save(...)."
        ) from error
    if not isinstance(config, dict):
        raise LoadError(
            f"config.json inside {path} describes no model: expected a JSON object, "
            f"got {type(config).__name__}."
        )
    findings: dict[Finding, None] = {}
    for entry in _objects(config):
        for finding in (*_scan_object(entry), *_scan_sizes(entry, weight_bytes)):
            findings[finding] = None
    return list(findings)


def _objects(root: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object inside, without recursion: a hostile file may nest deeply."""
    pending = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _scan_object(entry: dict[str, Any]) -> Iterator[Finding]:
    class_name = entry.get("class_name")
    if not isinstance(class_name, str):
        return
    module = _public(entry.get("module"))
    registered = entry.get("registered_name")
    bare_name = class_name.rpartition(">")[2]
    if bare_name in _CODE_CLASSES:
        yield Finding("code", f"{bare_name} layer: {_CODE_CLASSES[bare_name]}")
    elif module is not None and not isinstance(module, str):
        yield Finding("malformed", f"module of {class_name!r} is no text: {module!r}")
    elif module and not _is_keras_module(module, class_name):
        name = entry.get("config") if class_name == "function" else registered
        yield Finding(
            "foreign", f"{module}.{class_name} is not part of Keras", str(name or class_name)
        )
    elif module and module.startswith(_ACTING_KERAS_MODULES):
        yield Finding("code", f"{module}.{class_name} acts instead of describing a layer")
    elif not module and isinstance(registered, str) and ">" in registered:
        yield Finding("foreign", f"{registered} is not part of Keras", registered)


def _public(module: Any) -> Any:
    """The public name of a part of Keras, which can be named by where its source lies as well."""
    if isinstance(module, str):
        for inner in ("keras._tf_keras.keras", "keras.api", "keras.src"):
            if module == inner or module.startswith(f"{inner}."):
                return _public("keras" + module[len(inner) :])
    return module


def _is_keras_module(module: str, class_name: str) -> bool:
    if module == "builtins":
        return class_name == "function"
    return module == "keras" or module.startswith("keras.")


def _scan_sizes(entry: dict[str, Any], weight_bytes: int) -> Iterator[Finding]:
    """Sizes beyond any layer, or beyond the weights file: building it would eat the memory."""
    ceiling = max(weight_bytes, 10**6)
    for key, value in entry.items():
        if key in _WEIGHT_KEYS and _is_number(value) and value > ceiling:
            yield Finding(
                "malformed",
                f"size bomb: a layer declares {key}={value:,}, the weights file has "
                f"{weight_bytes:,} bytes",
            )
        elif key in _SIZE_KEYS and _product(value) > _SIZE_LIMIT:
            yield _size_bomb(key, value)
    config = entry.get("config")
    if isinstance(config, dict) and str(entry.get("module") or "keras").startswith("keras"):
        for key, value in config.items():
            if key not in _VALUE_KEYS | _SIZE_KEYS | _WEIGHT_KEYS and any(
                isinstance(n, int) and abs(n) > _SIZE_LIMIT for n in _numbers(value)
            ):
                yield _size_bomb(key, value)
    # The shapes of inputs that layers are built for, under names of the layers' own choice.
    for shapes in _objects(entry.get("build_config")):
        for key, value in shapes.items():
            if key not in _SIZE_KEYS and _product(value) > _SIZE_LIMIT:
                yield _size_bomb(key, value)


def _size_bomb(key: str, value: Any) -> Finding:
    return Finding("malformed", f"size bomb: a layer declares {key}={value!s:.100}")


def _product(value: Any) -> float:
    product: float = 1
    for number in _numbers(value):
        product *= max(abs(number), 1)
    return product


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers of a value or of a list of lists; objects inside are looked at by themselves."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending.extend(part)
        elif _is_number(part):
            yield part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
