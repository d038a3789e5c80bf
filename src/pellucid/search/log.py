"""Records kept in a file as they come, so that a search that was killed goes on."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pellucid.errors import InputError, LoadError
from pellucid.search.record import Record

VERSION = 2


class Log:
    """What was found so far, by key; written to `path` whole after every record, where given.

    `head` says what is searched: a file of another search is refused with `InputError`, one that
    cannot be read with `LoadError`. `unknown` are functions that `head` cannot tell from others:
    with one of them no file is gone on with.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        head: Mapping[str, Any],
        *,
        unknown: Sequence[str] = (),
    ) -> None:
        self.path = None if path is None else Path(path)
        self._head = json.loads(json.dumps(dict(head)))
        self._records: dict[str, Record] = {}
        if self.path is not None and self.path.exists():
            if unknown:
                raise InputError(
                    f"{self.path} cannot be gone on with: the search has {unknown[0]}.\n"
                    "  Give a plain function, or another file to begin anew."
                )
            self._records = dict(self._read(self.path))
        self.resumed = self._held = len(self._records)

    @property
    def spent(self) -> int:
        """All rows of the model that the records took."""
        return sum(record.spent for record in self._records.values())

    def spent_besides(self, *stages: str) -> int:
        """The same without the records of stages that begin so."""
        return sum(r.spent for key, r in self._records.items() if not key.startswith(stages))

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def add(self, key: str, record: Record) -> None:
        """Keep a record; the file is replaced in one step, so it is whole at any moment."""
        self._records[key] = record
        if self.path is None:
            return
        document = {
            "pellucid_search": VERSION,
            "search": self._head,
            "records": {k: r.plain() for k, r in self._records.items()},
        }
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
            os.replace(beside, self.path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            held = f"it still holds {self._held} records" if self._held else "it holds nothing"
            raise InputError(
                f"The search cannot be kept in {self.path}: {error}.\n"
                f"  What was found before stays in that file ({held}): make room there, or name"
                " another place, and the same call goes on."
            ) from error
        self._held = len(self._records)

    def _read(self, path: Path) -> Iterator[tuple[str, Record]]:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            version, head = document["pellucid_search"], document["search"]
            records = document["records"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoadError(f"{path} is no file of a search: {error}.") from error
        if version != VERSION:
            raise LoadError(f"{path} is of version {version} of searches, expected {VERSION}.")
        if head != self._head:
            others = [k for k in self._head if head.get(k) != self._head[k]]
            raise InputError(
                f"{path} is of another search: {', '.join(others)} differ.\n"
                "  Give the same model, inputs and goal to go on, or another file to begin anew."
            )
        for key, record in records:
            try:
                yield key, Record.of(record)
            except InputError as error:
                raise LoadError(f"{path} is no file of a search: {error}") from error
