"""The page of an audit pack: what it is about, what each file holds, how to check it, and what that does not show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

BY = {
    "either": "every event that happened or was recorded in the period",
    "happened": "every event that happened in the period",
    "recorded": "every event that was recorded in the period",
}
FILES = (
    ("events.jsonl", "one event a line: the event as it is hashed, its position in the store, when it was recorded"),
    ("events.parquet", "the same events as a table, for a spreadsheet or a query"),
    ("ledger.json", "every sealed batch of the store with its Merkle root, what leads the events there, the journal"),
    ("anchors.jsonl", "only where the shop keeps anchors: what the head was at moments of the past, signed or not"),
    ("verify.json", "what cart verify found in the whole store when the pack was made"),
    ("check_audit.py", "the program that checks the pack; it needs Python 3.11 and nothing else"),
    ("manifest.json", "the period, the ledger's head, how many events there are, the SHA-256 of every file above"),
    ("SHA256SUMS", "the SHA-256 of every file, as sha256sum -c reads it"),
)
SHOWN = (
    "Every event of this pack stands in the ledger as it is here: no field of it was changed since it was sealed.",
    "The batches follow each other without a gap up to the head; no position is missing or there twice.",
    "No event that the store recorded in the period is missing from the pack (unless it is of events that happened).",
)
NOT_SHOWN = (
    "That the head is the true one: compare it with what the shop published or anchored at the time.",
    "That no event is missing that happened in the period but was recorded outside: cart verify and other packs do.",
    "Who a user is: the ledger holds a number. The shop can name it as long as the user was not forgotten.",
    "That what the shop recorded is true; only that the record was not changed afterwards.",
)


def page(manifest: dict[str, Any], verified: dict[str, Any]) -> str:
    """The page of a pack, as HTML that loads nothing; the same manifest and report give the same page."""
    facts = (
        ("store", manifest["store"]),
        ("period", f"{manifest['from']} to {manifest['to']}, both included"),
        ("holds", BY[manifest["by"]]),
        ("events", f"{manifest['events']:,}, of {manifest['position']:,} in the store"),
        ("sealed", _sealed(manifest)),
        ("ledger head", manifest["head"]),
        ("made", manifest["madeAt"]),
        ("cart verify", "found nothing wrong" if not verified["problems"] else "found what stands below"),
    )
    return Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(
        facts="\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts),
        problems=_list(verified["problems"]),
        files="\n".join(f"<dt>{escape(name)}</dt><dd>{escape(what)}</dd>" for name, what in FILES),
        head=escape(manifest["head"]),
        shown=_list(SHOWN),
        not_shown=_list(NOT_SHOWN),
    )


def _sealed(manifest: dict[str, Any]) -> str:
    unsealed = manifest["unsealed"]
    if not unsealed:
        return "all of them: each leads to the head"
    return (
        f"{manifest['events'] - unsealed:,}, which lead to the head; {unsealed:,} were still in the journal and are "
        "covered by its running hash alone, which no head vouches for yet"
    )


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"<li>{escape(text)}</li>" for text in texts)
