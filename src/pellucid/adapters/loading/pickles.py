"""Recognise pickles, and list what they would import, without ever running one."""

import bz2
import gzip
import io
import lzma
import pickletools
import zlib
from collections.abc import Iterator
from pathlib import Path

SCAN_LIMIT = 64 * 1024**2
"""Bytes read at most when a pickle's instructions are listed."""

# Compressed streams that joblib writes: magic bytes, and how the first bytes are uncompressed.
_COMPRESSED: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"ZF", "joblib zfile"),
)

# What a checkpoint of plain tensors names; anything else in it is somebody's class or function.
_TENSOR_GLOBALS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._tensor._rebuild_from_type_v2",
        "torch.nn.parameter.Parameter",
        "torch.Tensor",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
    }
)

_LEGACY_TORCH_HEAD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLES_IN_LEGACY_TORCH = 5


def compression(head: bytes) -> str | None:
    """The compression these first bytes of a file show, of those joblib writes; else None."""
    return next((name for magic, name in _COMPRESSED if head.startswith(magic)), None)


def looks_like_pickle(data: bytes) -> bool:
    """Whether `data` begins as a pickle of any protocol.

    Protocols 2 to 5 say so in two bytes. The older ones have no header: they are taken for
    pickles if their instructions can be listed up to the end mark.
    """
    if len(data) < 2:
        return False
    if data[0] == 0x80:
        return 2 <= data[1] <= 5
    if data[:1] not in b"(cilp]}VISFNUKJMG":
        return False
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(data))
    except Exception:  # pickletools raises many kinds of error on bytes that are no pickle
        return False


def uncompressed_head(path: Path, kind: str, count: int = 4096) -> bytes:
    """The first `count` uncompressed bytes of a joblib-style file; empty where unreadable."""
    openers = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "lzma": lzma.open}
    try:
        if kind == "zlib":
            with path.open("rb") as file:
                return zlib.decompressobj().decompress(file.read(65536), count)
        if kind in openers:
            with openers[kind](path, "rb") as file:
                return file.read(count)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        pass
    return b""


def is_legacy_torch(data: bytes) -> bool:
    """Whether a pickle is `torch.save`'s format from before the zip archives of 2020."""
    return data.startswith(_LEGACY_TORCH_HEAD)


def imported_names(data: bytes) -> tuple[str, ...]:
    """The `module.name`s a stream of pickles would import, as far as its instructions show.

    An adviser, never a proof: a pickle can hide names from such a list.
    """
    found: dict[str, None] = {}
    stream = io.BytesIO(data)
    for _ in range(_PICKLES_IN_LEGACY_TORCH):
        for name in _names_of_next(stream):
            found[name] = None
    return tuple(found)


def _names_of_next(stream: io.BytesIO) -> Iterator[str]:
    """The names in the pickle that begins here; the stream is left behind its end mark."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    newest: str | None = None
    try:
        for opcode, value, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(value).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:]) if len(strings) >= 2 else "(hidden)"
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = newest if newest is not None else ""
                continue
            elif opcode.name in ("BINGET", "LONG_BINGET") and memo.get(value or 0):
                strings.append(memo[value or 0])
            newest = value if isinstance(value, str) else None
            if newest is not None and opcode.name not in ("GLOBAL", "INST"):
                strings.append(newest)
    except Exception:  # the stream ended, or what follows is no pickle: what was seen stands
        return


def beyond_tensors(names: tuple[str, ...]) -> tuple[str, ...]:
    """The imported names that a checkpoint of plain tensors does not need."""
    return tuple(
        name for name in names if name not in _TENSOR_GLOBALS and not _is_tensor_type(name)
    )


def _is_tensor_type(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return module in ("torch", "torch.storage") and (
        attribute.endswith("Storage")
        or attribute in {"float16", "float32", "float64", "bfloat16", "int8", "int32", "int64"}
    )
