"""What it costs to make a store's history provable: leaves, roots, live appends, proofs.

Run ``python benchmarks/ledger.py [EVENTS]``. It prints one row per measurement, the median of five; whole tables are
hashed a million events at a time, as an import hands them over, on all cores. One by one means hashlib in one thread
over canonical JSON that is written already, which is the least that any way by Python objects would cost.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import shop_events

from cart_core import ledger, schema

REPEATS = 5
ONE_BY_ONE = 100_000
LIVE = 20_000
CHECKS = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what was done how many times, in which time, and what is to be known about it."""

    what: str
    times: int
    took: Took
    note: str = ""

    def __str__(self) -> str:
        rate, cpu_us = self.times / self.took.wall_s, self.took.cpu_s / self.times * 1e6
        return f"{self.what:<36}{rate:>12,.0f}/s{cpu_us:>12,.2f} CPU-us each  {self.note}"


class Took(NamedTuple):
    """Seconds that passed, and seconds that all cores worked; on a busy machine only the latter can be compared."""

    wall_s: float
    cpu_s: float


def main(events: int) -> None:
    """Print every measurement."""
    tables = [_at_rest(table) for table in shop_events.batches(events)]
    rows = sum(map(len, tables))
    ledger.leaf_hashes(tables[0])
    for row in (*_bulk(tables, rows), *_one_by_one(tables[0]), *_live(tables[0]), *_proofs(tables[0])):
        print(row, flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, the tables included")


def _at_rest(table: pa.Table) -> pa.Table:
    """The table with a number in place of each user, as it is stored."""
    users = table["user_id"].combine_chunks().dictionary_encode().indices.cast(pa.int64())
    return table.set_column(table.schema.get_field_index("user_id"), "user_key", users)


def _measured(work: Callable[[], object]) -> Took:
    """The medians over five runs."""
    wall_s, cpu_s = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        wall_s.append(time.perf_counter() - wall)
        cpu_s.append(time.process_time() - cpu)
    return Took(statistics.median(wall_s), statistics.median(cpu_s))


def _bulk(tables: list[pa.Table], rows: int) -> list[Row]:
    leaves = np.concatenate([ledger.leaf_hashes(table) for table in tables])
    hashed = _measured(lambda: [ledger.leaf_hashes(table) for table in tables])
    rooted = _measured(lambda: ledger.merkle_root(leaves))
    return [
        Row("leaves of whole tables", rows, hashed, f"{rows:,} events in {hashed.wall_s:.2f} s"),
        Row("root over these leaves", rows, rooted, f"{rooted.wall_s:.2f} s"),
    ]


def _one_by_one(table: pa.Table) -> list[Row]:
    texts = _canonical_texts(table.slice(0, ONE_BY_ONE))
    data = pa.table({"text": pa.array(texts, pa.binary())})
    with duckdb.connect() as con:
        con.register("texts", data)
        by_duckdb = _measured(lambda: con.sql("SELECT max(sha256(text)) FROM texts").fetchall())
    by_hashlib = _measured(lambda: [sha256(text).digest() for text in texts])
    note = f"of canonical JSON that is there already, {sum(map(len, texts)) / len(texts):.0f} bytes each"
    return [
        Row("hashlib alone, one by one", len(texts), by_hashlib, note),
        Row("DuckDB's sha256 alone", len(texts), by_duckdb, note),
    ]


def _live(table: pa.Table) -> list[Row]:
    envelopes = schema.to_envelopes(_named(table.slice(0, LIVE)))

    def append_all() -> None:
        running = ledger.GENESIS
        for position, envelope in enumerate(envelopes):
            running = ledger.running_hash(running, ledger.leaf_hash(envelope, 7), position, position)

    return [Row("leaf and running hash, live", len(envelopes), _measured(append_all))]


def _proofs(table: pa.Table) -> list[Row]:
    leaves = ledger.leaf_hashes(table)
    recorded = ledger.recorded_hash(np.zeros(len(leaves), np.int64))
    batches = [ledger.SealedBatch(1, 1, len(leaves), ledger.merkle_root(leaves), recorded, 0)]
    event = _canonical_texts(table.slice(0, 1))[0]
    head = ledger.chain_head(batches).hex()
    proof = ledger.prove(event, 0, leaves, batches, 1).to_json()
    if ledger.check_proof(proof, head):
        raise AssertionError("the proof does not hold")
    made = _measured(lambda: ledger.prove(event, 0, leaves, batches, 1))
    checked = _measured(lambda: [ledger.check_proof(proof, head) for _ in range(CHECKS)])
    return [
        Row("proofs made", 1, made, f"of one event among {len(leaves):,}"),
        Row("proofs checked", CHECKS, checked, f"{len(proof)} bytes each"),
    ]


def _named(table: pa.Table) -> pa.Table:
    names = pa.array([f"user-{key}" for key in table["user_key"].to_pylist()])
    return schema.conform(table.set_column(table.schema.get_field_index("user_key"), "user_id", names))


def _canonical_texts(table: pa.Table) -> list[bytes]:
    keys = table["user_key"].to_pylist()
    return [ledger.canonical(*pair) for pair in zip(schema.to_envelopes(_named(table)), keys, strict=True)]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
