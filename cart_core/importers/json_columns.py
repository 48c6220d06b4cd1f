"""Many lines of JSON envelopes at once: into columns, with the strictness of ``Envelope.from_line``.

Arrow's JSON reader tells numbers from text and booleans, and refuses unknown and repeated keys, broken escapes and
numbers that do not fit. What it would let pass is kept from it: a line with `null` in it is left to the slow way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from cart_core import rules, schema
from cart_core.events import FIELDS
from cart_core.importers import ids, times
from cart_core.rules import Amount, Moment, Whole
from cart_core.schema import EVENTS

Flags = np.ndarray[Any, np.dtype[np.bool_]]

METADATA_KEYS = 64
ENVELOPE_TEXTS = ("eventId", "cartId", "userId", "timestamp", "recordedAt")
EVENT_FIELDS = {spec.json: spec for fields in FIELDS.values() for spec in fields}


@dataclass(slots=True)
class JsonColumns:
    """Reads runs of lines as columns; learns the keys of metadata as they turn up."""

    metadata_keys: list[str] = field(default_factory=list)

    def learn(self, metadata: pa.ChunkedArray) -> bool:
        """Take up metadata keys of events that were read the slow way. Returns whether there were new ones."""
        keys = {key for pairs in metadata.to_pylist() if pairs for key, _ in pairs} - set(self.metadata_keys)
        new = sorted(keys)[: METADATA_KEYS - len(self.metadata_keys)]
        self.metadata_keys += new
        return bool(new)

    def read(self, texts: list[bytes]) -> tuple[pa.Table, Flags] | None:
        """Lines as a table of EVENTS, and which of the lines it holds rightly; the others need the slow way.

        None where not every line is one JSON object with known keys and values of the right kinds.
        """
        lines, sure = texts, np.ones(len(texts), bool)
        whole = b"\n".join(texts)
        if b"null" in whole or whole.count(b"}\n{") != len(texts) - 1 or whole[:1] != b"{" or whole[-1:] != b"}":
            sure = np.array([b"null" not in text and text[:1] == b"{" and text[-1:] == b"}" for text in texts], bool)
            lines = [text for text, plain in zip(texts, sure.tolist(), strict=True) if plain]
            whole = b"\n".join(lines)
        document = self._document(whole, len(lines))
        if document is None:
            return None
        table, sound = self._events(document)
        sure[sure] = sound
        return table.filter(pa.array(sound)), sure

    def _document(self, whole: bytes, lines: int) -> pa.Table | None:
        """JSON objects, one a line, as one chunk of columns; None where not every line is one of the right form."""
        if not lines:
            return None
        try:
            document = pj.read_json(
                pa.BufferReader(whole),
                parse_options=pj.ParseOptions(explicit_schema=self._schema(), unexpected_field_behavior="error"),
                read_options=pj.ReadOptions(block_size=2 * len(whole), use_threads=False),
            )
        except pa.ArrowInvalid:
            return None
        return document.combine_chunks() if len(document) == lines else None

    def _schema(self) -> pa.Schema:
        kinds = {Whole: pa.int64(), Amount: pa.float64()}
        event = [("type", pa.string())]
        event += [(name, kinds.get(type(spec.rule), pa.string())) for name, spec in EVENT_FIELDS.items()]
        columns = [(name, pa.string()) for name in ENVELOPE_TEXTS]
        columns += [("version", pa.int64()), ("event", pa.struct(event))]
        return pa.schema([*columns, ("metadata", pa.struct([(key, pa.string()) for key in self.metadata_keys]))])

    def _events(self, document: pa.Table) -> tuple[pa.Table, Flags]:
        event = document["event"].chunk(0)
        fields = {name: pc.struct_field(event, name) for name in ("type", *EVENT_FIELDS)}
        sound = _fields_fit_types(fields)
        columns: dict[str, Any] = {"type": fields["type"], "user_id": document["userId"]}
        for name, column in (("event_id", "eventId"), ("cart_id", "cartId")):
            found, well = ids.from_text(document[column].chunk(0))
            columns[name] = ids.uuids(found)
            sound &= well
        columns["timestamp"] = _moments(document["timestamp"].chunk(0), sound)
        _moments(document["recordedAt"].chunk(0), sound)
        columns["version"] = _small(document["version"].chunk(0), sound)
        for spec in EVENT_FIELDS.values():
            cells = _payload(fields[spec.json], spec.rule, sound)
            before = columns.get(spec.column)
            columns[spec.column] = cells if before is None else pc.coalesce(before, cells)
        columns["metadata"] = self._metadata(document["metadata"].chunk(0))
        nothing = {each.name: pa.nulls(len(document), each.type) for each in EVENTS if each.name not in columns}
        table = pa.table([(columns | nothing)[name] for name in EVENTS.names], schema=EVENTS)
        sound[schema.violations(table)["row"].to_numpy()] = False
        return table, sound

    def _metadata(self, structs: pa.StructArray) -> pa.Array:
        """A struct with one field for each known key as a map that holds the keys present, in order."""
        if not self.metadata_keys:
            return pa.nulls(len(structs), EVENTS.field("metadata").type)
        keys = sorted(self.metadata_keys)
        cells = [pc.struct_field(structs, key) for key in keys]
        present = np.column_stack([cell.is_valid().to_numpy(zero_copy_only=False) for cell in cells])
        rows, places = np.nonzero(present)
        flat = pa.concat_arrays(cells).take(pa.array(places * len(structs) + rows))
        ends = np.r_[0, np.cumsum(present.sum(axis=1))].astype(np.int32)
        empty = np.r_[~present.any(axis=1), False]
        names = pa.array(keys).take(pa.array(places))
        return pa.MapArray.from_arrays(pa.array(ends, mask=empty), names, flat)


def _fields_fit_types(fields: dict[str, pa.Array]) -> Flags:
    """Per row whether only fields of the row's own event type are there."""
    codes = pc.fill_null(pc.index_in(fields["type"], pa.array(list(FIELDS))), len(FIELDS)).to_numpy()
    sound: Flags = codes < len(FIELDS)
    for name, cells in fields.items():
        if name != "type" and cells.null_count < len(cells):
            owns = np.array([*(any(spec.json == name for spec in specs) for specs in FIELDS.values()), False])
            sound &= owns[codes] | cells.is_null().to_numpy(zero_copy_only=False)
    return sound


def _payload(cells: pa.Array, rule: rules.Rule, sound: Flags) -> pa.Array:
    """A JSON field as its column; rows whose value the column could not hold are marked as unsound."""
    if isinstance(rule, Moment):
        return _moments(cells, sound)
    if isinstance(rule, Whole):
        return _small(cells, sound) if rule.high <= rules.INT32_MAX else cells
    if isinstance(rule, Amount):
        sound &= pc.fill_null(pc.not_equal(cells, float(rules.EXACT_FLOAT_MAX)), True).to_numpy(zero_copy_only=False)
    return cells


def _small(cells: pa.Array, sound: Flags) -> pa.Array:
    values = pc.fill_null(cells, 0).to_numpy(zero_copy_only=False)
    fits = (values >= -rules.INT32_MAX - 1) & (values <= rules.INT32_MAX)
    sound &= fits
    return pa.array(np.where(fits, values, 0).astype(np.int32), mask=cells.is_null().to_numpy(zero_copy_only=False))


def _moments(texts: pa.Array, sound: Flags) -> pa.Array:
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    micros = np.full(len(texts), times.NO_TIME, np.int64)
    if not absent.all():
        micros = times.parse_rfc3339(texts)
        sound &= absent | (micros != times.NO_TIME)
    return pa.array(np.where(absent, 0, micros), mask=absent).cast(schema.UTC_MICROS)
