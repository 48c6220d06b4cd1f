"""A Delta Lake log beside the segments, as its protocol has it: which files make up the table, version by version.

The table is an output. It names a writer feature that no engine knows, so that every engine reads it, and none of them
writes to it, rewrites it or vacuums away the files that the store has not published yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from cart_core.errors import StoreBusy
from cart_core.store.at_rest import AT_REST
from cart_core.store.segments import objects
from cart_core.store.segments.folder import SegmentFolder, sync_folder

FOLDER = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
CHECKPOINT_EVERY = 20
WRITER_FEATURE = "cartWorkbench"
PROTOCOL = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [WRITER_FEATURE]}
TOMBSTONE_DAYS = 30
MICROS_PER_MS = 1_000
MS_PER_DAY = 86_400_000
NOT_PUBLISHED = ("bucket",)
PLAIN = {
    "int64": "long",
    "int32": "integer",
    "string": "string",
    "double": "double",
    "timestamp[us, tz=UTC]": "timestamp",
}
TEXTS = pa.map_(pa.string(), pa.string())
CHECKPOINT = pa.schema(
    {
        "protocol": pa.struct(
            {"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32(), "writerFeatures": pa.list_(pa.string())}
        ),
        "metaData": pa.struct(
            {
                "id": pa.string(),
                "name": pa.string(),
                "description": pa.string(),
                "format": pa.struct({"provider": pa.string(), "options": TEXTS}),
                "schemaString": pa.string(),
                "partitionColumns": pa.list_(pa.string()),
                "createdTime": pa.int64(),
                "configuration": TEXTS,
            }
        ),
        "add": pa.struct(
            {
                "path": pa.string(),
                "partitionValues": TEXTS,
                "size": pa.int64(),
                "modificationTime": pa.int64(),
                "dataChange": pa.bool_(),
                "stats": pa.string(),
            }
        ),
        "remove": pa.struct({"path": pa.string(), "deletionTimestamp": pa.int64(), "dataChange": pa.bool_()}),
    }
)
Action = dict[str, Any]


@dataclass(slots=True)
class Table:
    """A version of the table: the add actions of its files and the remove actions of files it had, by path."""

    version: int = -1
    files: dict[str, Action] = field(default_factory=dict)
    removed: dict[str, Action] = field(default_factory=dict)
    about: Action = field(default_factory=dict)

    def apply(self, action: Mapping[str, Action | None]) -> None:
        """Take one line of the log in."""
        if add := action.get("add"):
            self.files[add["path"]] = add
            self.removed.pop(add["path"], None)
        elif remove := action.get("remove"):
            self.removed[remove["path"]] = remove
            self.files.pop(remove["path"], None)
        elif about := action.get("metaData"):
            self.about = about


class DeltaLog:
    """The log in the folder ``_delta_log`` under a path of a file system."""

    def __init__(self, system: FileSystem, base: str) -> None:
        self._system = system
        self._base = f"{base}/{FOLDER}"

    def read(self) -> Table:
        """The latest version; version -1 where nothing was published. Raises StoreUnreachable."""
        with objects.translated(self._base):
            return self._read()

    def commit(self, table: Table, about: Action, adds: Sequence[Action], removes: Sequence[Action]) -> int:
        """Write the next version after ``table``, whole or not at all; returns its number.

        Every few versions a checkpoint follows, from which readers start. Raises StoreBusy where somebody else has
        published meanwhile, StoreUnreachable.
        """
        actions = [
            *self._head(table, about),
            *({"remove": each} for each in removes),
            *({"add": each} for each in adds),
        ]
        number = table.version + 1
        with objects.translated(self._base):
            self._create(_commit_name(number), "".join(json.dumps(each) + "\n" for each in actions).encode())
            for each in actions:
                table.apply(each)
            table.version = number
            if number and number % CHECKPOINT_EVERY == 0:
                self._checkpoint(table, about["createdTime"])
        return number

    def _head(self, table: Table, about: Action) -> Iterator[dict[str, Action]]:
        yield {"commitInfo": {"timestamp": about["createdTime"], "operation": "WRITE", "engineInfo": "cart-workbench"}}
        if table.version < 0:
            yield {"protocol": PROTOCOL}
            yield {"metaData": about}

    def _read(self) -> Table:
        names = self._names()
        marks = [name for name in names if name.endswith(".checkpoint.parquet")]
        table = Table()
        if marks:
            table.version = int(marks[-1].split(".")[0])
            for row in pq.read_table(f"{self._base}/{marks[-1]}", filesystem=self._system).to_pylist():
                table.apply(row)
        for name in names:
            if name.endswith(".json") and int(name.split(".")[0]) > table.version:
                with self._system.open_input_file(f"{self._base}/{name}") as commit:
                    for line in commit.read().splitlines():
                        table.apply(json.loads(line))
                table.version = int(name.split(".")[0])
        return table

    def _names(self) -> list[str]:
        found = self._system.get_file_info(FileSelector(self._base, allow_not_found=True))
        return sorted(each.base_name for each in found if each.type == FileType.File and each.base_name[0].isdigit())

    def _checkpoint(self, table: Table, now_ms: int) -> None:
        forgotten_ms = now_ms - TOMBSTONE_DAYS * MS_PER_DAY
        rows: list[Action] = [{"protocol": PROTOCOL}, {"metaData": table.about}]
        rows += [{"add": each} for each in table.files.values()]
        rows += [{"remove": each} for each in table.removed.values() if each["deletionTimestamp"] > forgotten_ms]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, CHECKPOINT), sink)
        self._write(f"{table.version:020d}.checkpoint.parquet", sink.getvalue().to_pybytes())
        self._write(LAST_CHECKPOINT, json.dumps({"version": table.version, "size": len(rows)}).encode())

    def _create(self, name: str, data: bytes) -> None:
        """Write a file that must not be there yet."""
        taken = StoreBusy(f"{self._base}/{name} is there already: somebody else publishes; try again")
        if isinstance(self._system, LocalFileSystem):
            temporary = self._local(f".{uuid4().hex}.tmp", data)
            try:
                os.link(temporary, Path(self._base) / name)
            except FileExistsError as error:
                raise taken from error
            finally:
                temporary.unlink()
            sync_folder(Path(self._base))
        elif self._system.get_file_info(f"{self._base}/{name}").type != FileType.NotFound:
            raise taken
        else:
            self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        if isinstance(self._system, LocalFileSystem):
            os.replace(self._local(f".{uuid4().hex}.tmp", data), Path(self._base) / name)
            sync_folder(Path(self._base))
            return
        with self._system.open_output_stream(f"{self._base}/{name}") as out:
            out.write(data)

    def _local(self, name: str, data: bytes) -> Path:
        place = Path(self._base) / name
        place.parent.mkdir(exist_ok=True)
        with place.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        return place


def held(folder: SegmentFolder, since_us: int) -> set[str]:
    """The files that the published table needs: those of its latest version, and those it let go of after a moment."""
    table = DeltaLog(*folder.files()).read()
    late = {path for path, each in table.removed.items() if each["deletionTimestamp"] * MICROS_PER_MS > since_us}
    return late | set(table.files)


def about(table_id: str, now_ms: int) -> Action:
    """What the table is: its id, name and columns."""
    return {
        "id": table_id,
        "name": "events",
        "description": "Cart events, published by cart-workbench. user_key is a pseudonym; ids are 16 bytes.",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": [_column(each) for each in AT_REST if _kept(each)]}),
        "partitionColumns": [],
        "configuration": {"delta.deletedFileRetentionDuration": f"interval {TOMBSTONE_DAYS} days"},
        "createdTime": now_ms,
    }


def _kept(column: pa.Field) -> bool:
    return column.name not in NOT_PUBLISHED


def _column(column: pa.Field) -> Action:
    kind: Any = PLAIN.get(str(column.type), "binary")
    if pa.types.is_map(column.type):
        kind = {"type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": True}
    return {"name": column.name, "type": kind, "nullable": True, "metadata": {}}


def _commit_name(version: int) -> str:
    return f"{version:020d}.json"
