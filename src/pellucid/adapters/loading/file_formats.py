"""Say what a model file is, by its content, and whether loading it can run code; loads nothing."""

import enum
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pellucid.adapters.loading import archives, pickles
from pellucid.adapters.loading.archives import Finding
from pellucid.errors import LoadError, quote_nearest

RunsCode = Literal["no", "yes", "if trusted"]


class FileFormat(enum.StrEnum):
    """What a file or folder turned out to be."""

    KERAS = "keras"
    HDF5 = "hdf5"
    SAVED_MODEL = "savedmodel"
    TORCH_EXPORT = "torch-export"
    TORCHSCRIPT = "torchscript"
    TORCH_CHECKPOINT = "torch-checkpoint"
    ONNX = "onnx"
    PICKLE = "pickle"
    JOBLIB = "joblib"
    SKOPS = "skops"
    NPZ = "npz"
    NPY = "npy"
    SAFETENSORS = "safetensors"
    TFLITE = "tflite"
    HUGGING_FACE = "huggingface"
    MLFLOW = "mlflow"
    ZIP = "zip"
    EMPTY = "empty"
    FOLDER = "folder"
    UNKNOWN = "unknown"


_TITLES = {
    FileFormat.KERAS: "Keras model (.keras)",
    FileFormat.HDF5: "HDF5 file (Keras .h5)",
    FileFormat.SAVED_MODEL: "TensorFlow SavedModel folder",
    FileFormat.TORCH_EXPORT: "torch.export program (.pt2)",
    FileFormat.TORCHSCRIPT: "TorchScript program",
    FileFormat.TORCH_CHECKPOINT: "torch checkpoint (torch.save)",
    FileFormat.ONNX: "ONNX model",
    FileFormat.PICKLE: "Python pickle",
    FileFormat.JOBLIB: "joblib pickle",
    FileFormat.SKOPS: "skops model",
    FileFormat.NPZ: "NumPy arrays (.npz)",
    FileFormat.NPY: "NumPy array (.npy)",
    FileFormat.SAFETENSORS: "safetensors weights",
    FileFormat.TFLITE: "TensorFlow Lite model",
    FileFormat.HUGGING_FACE: "Hugging Face model folder",
    FileFormat.MLFLOW: "MLflow model folder",
    FileFormat.ZIP: "zip archive",
    FileFormat.EMPTY: "empty file",
    FileFormat.FOLDER: "folder",
    FileFormat.UNKNOWN: "unknown",
}

# Loading these is running them: a pickle's instructions, or a program beside the weights.
_PROGRAMS = frozenset(
    {
        FileFormat.SAVED_MODEL,
        FileFormat.TORCH_EXPORT,
        FileFormat.TORCHSCRIPT,
        FileFormat.PICKLE,
        FileFormat.JOBLIB,
        FileFormat.MLFLOW,
    }
)
_HEAD = 4096
_ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
"""Field numbers of ONNX's ModelProto."""


@dataclass(frozen=True)
class FileFacts:
    """What a file shows of itself before anything of it is loaded.

    `runs_code` is "no" (data only), "yes" (loading it runs what it holds) or "if trusted"
    (parts of it could; they are refused unless somebody vouches for the file). For a folder,
    `sha256` covers the relative name and content of every file in it, and `size` is their sum.
    """

    path: Path
    format: FileFormat
    size: int
    sha256: str
    runs_code: RunsCode
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The format in words."""
        return _TITLES[self.format]


def inspect_file(path: str | Path) -> FileFacts:
    """Format, size, hash and dangers of a model file or folder, without loading it.

    Raises `LoadError` where there is no such file, or an archive is cut off or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise LoadError(_missing(path))
    if path.is_dir():
        return _inspect_folder(path)
    if not path.is_file():
        raise LoadError(f"{path} is neither a file nor a folder; models are loaded from those.")
    try:
        file_format, findings = _detect(path)
        size = path.stat().st_size
        digest = _sha256(path)
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror or error}.") from error
    return FileFacts(path, file_format, size, digest, _runs_code(file_format, findings), findings)


def _missing(path: Path) -> str:
    parent = path.parent
    beside = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    hint = quote_nearest(path.name, beside) or f"{parent} does not exist." * (not parent.is_dir())
    return (
        f"there is no file or folder {path}.\n"
        f"  {hint + ' ' if hint else ''}Expected a model file, a SavedModel folder, or "
        '"package.module:factory" naming a function that builds the model.'
    )


def _runs_code(file_format: FileFormat, findings: tuple[Finding, ...]) -> RunsCode:
    if file_format in _PROGRAMS:
        return "yes"
    if file_format is FileFormat.TORCH_CHECKPOINT:
        return "yes" if findings else "no"
    if file_format in {FileFormat.HDF5, FileFormat.SKOPS} or findings:
        return "if trusted"
    return "no"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inspect_folder(path: Path) -> FileFacts:
    names = {entry.name for entry in path.iterdir()}
    if names & {"saved_model.pb", "saved_model.pbtxt"}:
        file_format = FileFormat.SAVED_MODEL
    elif "MLmodel" in names:
        file_format = FileFormat.MLFLOW
    elif "config.json" in names and any(
        name.endswith((".safetensors", ".bin", ".msgpack")) for name in names
    ):
        file_format = FileFormat.HUGGING_FACE
    else:
        # Anything at all may lie here; its files are not read to hash them.
        return FileFacts(path, FileFormat.FOLDER, 0, "", "no")
    size, digest = _hash_folder(path)
    return FileFacts(path, file_format, size, digest, _runs_code(file_format, ()))


def _hash_folder(path: Path) -> tuple[int, str]:
    """Size and hash of all files below a folder.

    Raises `LoadError` where a link to a folder would leave part of the model out of the hash.
    """
    digest = hashlib.sha256()
    size = 0
    for entry in sorted(path.rglob("*"), key=lambda entry: entry.relative_to(path).as_posix()):
        if entry.is_dir():
            if entry.is_symlink():
                raise LoadError(f"{entry} is a link to a folder: copy the folder in its place.")
            continue
        if not entry.is_file():
            raise LoadError(f"{entry} is neither a file nor a folder; no model holds such.")
        size += entry.stat().st_size
        digest.update(f"{entry.relative_to(path).as_posix()}\0{_sha256(entry)}\n".encode())
    return size, digest.hexdigest()


def _detect(path: Path) -> tuple[FileFormat, tuple[Finding, ...]]:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return FileFormat.EMPTY, ()
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _detect_zip(path)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return FileFormat.HDF5, ()
    if head.startswith(b"\x93NUMPY"):
        return FileFormat.NPY, ()
    if head[4:8] == b"TFL3":
        return FileFormat.TFLITE, ()
    if _is_safetensors(path, head):
        return FileFormat.SAFETENSORS, ()
    if pickles.is_legacy_torch(head):
        return FileFormat.TORCH_CHECKPOINT, _pickle_findings(_beginning(path), tensors=True)
    kind = pickles.compression(head)
    if kind is not None:
        inner = pickles.uncompressed_head(path, kind)
        opaque = kind in ("lz4", "joblib zfile")
        if opaque or inner[:1] == b"\x80" or pickles.looks_like_pickle(inner):
            return FileFormat.JOBLIB, ()
    if _is_onnx(path):
        return FileFormat.ONNX, ()
    beginning = _beginning(path)
    if not pickles.looks_like_pickle(beginning):
        return FileFormat.UNKNOWN, ()
    findings = _pickle_findings(beginning, tensors=False)
    # joblib's own files hold arrays between the instructions, which only joblib can read.
    if any(finding.name.startswith("joblib.") for finding in findings):
        return FileFormat.JOBLIB, findings
    return FileFormat.PICKLE, findings


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(pickles.SCAN_LIMIT)


def _pickle_findings(data: bytes, *, tensors: bool) -> tuple[Finding, ...]:
    names = pickles.imported_names(data)
    if tensors:
        names = pickles.beyond_tensors(names)
    return tuple(Finding("code", f"imports {name}", name) for name in names)


def _detect_zip(path: Path) -> tuple[FileFormat, tuple[Finding, ...]]:
    members = archives.zip_members(path)
    findings = archives.scan_members(path, members)
    by_name = {member.filename: member for member in members}
    # torch puts everything below one folder named after the file.
    inside = {name.partition("/")[2] for name in by_name}
    if "config.json" in by_name and "metadata.json" in by_name:
        weights = [m for m in members if m.filename.startswith("model.weights")]
        if not any(finding.text.startswith("size bomb") for finding in findings):
            size = sum(member.file_size for member in weights)
            findings += archives.scan_keras_config(path, size)
        return FileFormat.KERAS, tuple(findings)
    if "constants.pkl" in inside and "data.pkl" in inside:
        return FileFormat.TORCHSCRIPT, tuple(findings)
    if "archive_format" in inside or "serialized_exported_program.json" in by_name:
        return FileFormat.TORCH_EXPORT, tuple(findings)
    if "data.pkl" in inside:
        name = next(name for name in by_name if name.partition("/")[2] == "data.pkl")
        data = archives.read_member(path, name, pickles.SCAN_LIMIT)
        return FileFormat.TORCH_CHECKPOINT, (*findings, *_pickle_findings(data, tensors=True))
    if "schema.json" in by_name:
        return FileFormat.SKOPS, tuple(findings)
    if members and all(name.endswith(".npy") for name in by_name):
        return FileFormat.NPZ, tuple(findings)
    return FileFormat.ZIP, tuple(findings)


def _is_safetensors(path: Path, head: bytes) -> bool:
    if len(head) < 10 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    if length > min(path.stat().st_size, 100 * 1024**2):
        return False
    with path.open("rb") as file:
        file.seek(8)
        try:
            return isinstance(json.loads(file.read(length)), dict)
        except (ValueError, RecursionError):
            return False


def _is_onnx(path: Path) -> bool:
    """Whether the whole file reads as the fields of an ONNX ModelProto, a graph among them."""
    size = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        position = 0
        while position < size:
            file.seek(position)
            chunk = file.read(20)
            key, used = _varint(chunk)
            number, wire = key >> 3, key & 7
            value, more = _varint(chunk[used:])
            if not used or not more or number not in _ONNX_FIELDS or wire not in (0, 2):
                return False
            seen.add(number)
            position += used + more + (value if wire == 2 else 0)
    return position == size and {1, 7} <= seen


def _varint(data: bytes) -> tuple[int, int]:
    """A protobuf number and how many bytes it took; 0 bytes where there is none."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    return 0, 0
