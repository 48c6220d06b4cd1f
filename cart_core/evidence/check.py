"""Checking a pack offline: every file, every proof, and every sentence against the proved events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cart_core.errors import CartError
from cart_core.events import Envelope
from cart_core.evidence.pack import EVIDENCE, HOW_TO_CHECK, PAGE, SUMS, digest, pack_files, proof_name, read_pack, sums
from cart_core.evidence.page import page
from cart_core.evidence.story import Document, story
from cart_core.ledger import CHECKER, check_proof

NOBODY = "user"


def check_pack(folder: Path, head: str | None = None) -> list[str]:
    """What is wrong with a pack, each naming its place; empty if nothing is.

    With ``head`` (hex), as it was published or anchored, the proofs must also lead there. Reads the folder alone.
    """
    try:
        return [*_sum_problems(folder), *_document_problems(folder, read_pack(folder), head)]
    except CartError as error:
        return [str(error)]
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        return [f"{folder / EVIDENCE}: a part is missing or of the wrong kind ({error!r})"]


def _sum_problems(folder: Path) -> Iterator[str]:
    found = {path.relative_to(folder).as_posix(): digest(path) for path in pack_files(folder)}
    text = _read(folder, SUMS)
    told = {name: sha256 for sha256, _, name in (line.partition("  ") for line in text.split("\n")) if name}
    for name in sorted({*told, *found}):
        if name not in found:
            yield f"{name}: is missing"
        elif name not in told:
            yield f"{name}: is not one of the pack's files"
        elif told[name] != found[name]:
            yield f"{name}: is not what it was (its SHA-256 differs)"
    if text != sums(folder):
        yield f"{SUMS}: is not what it was, or a file is not"


def _read(folder: Path, name: str) -> str:
    """A file of a pack; one that cannot be read is empty, and so never what it should be."""
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _document_problems(folder: Path, document: Document, head: str | None) -> Iterator[str]:
    events = document["events"]
    if [each["version"] for each in events] != list(range(1, len(events) + 1)):
        yield f"{EVIDENCE}: an event is missing (the versions are not 1, 2, 3 ...)"
    for each in events:
        yield from _event_problems(folder, document, each, head)
    history = [_envelope(document, each) for each in events]
    retold = story(history, document["productId"])
    for part, value in retold.items():
        if document[part] != json.loads(json.dumps(value)):
            yield f"{EVIDENCE}: {part} is not what the events say"
    if document["howToCheck"] != HOW_TO_CHECK:
        yield f"{EVIDENCE}: howToCheck is not what it was"
    if _read(folder, PAGE) != page(document):
        yield f"{PAGE}: does not show what {EVIDENCE} says"
    if _read(folder, CHECKER.name) != CHECKER.read_text(encoding="utf-8"):
        yield f"{CHECKER.name}: is not this version's checker"


def _event_problems(folder: Path, document: Document, event: Document, head: str | None) -> Iterator[str]:
    place = f"event {event['version']}"
    text = event["proof"]
    if text is None:
        yield f"{place}: has no proof, since it was not sealed when the pack was made"
        return
    yield from (f"{proof_name(event['version'])}: {problem}" for problem in check_proof(text, head))
    proof = json.loads(text)
    if document["ledger"] is None or proof["head"] != document["ledger"]["head"]:
        yield f"{place}: its proof leads to another head than the pack's"
    if event["sealedAt"] != proof["batch"]["sealedAt"]:
        yield f"{place}: sealedAt is not that of its batch"
    proved = {name: value for name, value in proof["event"].items() if name != "userKey"}
    shown = {name: event[name] for name in event if name not in ("proof", "sealedAt", "recordedAt")}
    if proved != shown:
        yield f"{place}: is not the event that its proof proves"
    if _read(folder, proof_name(event["version"])) != text:
        yield f"{proof_name(event['version'])}: is not the proof in {EVIDENCE}"


def _envelope(document: Document, event: Document) -> Envelope:
    fields = {name: value for name, value in event.items() if name not in ("proof", "sealedAt")}
    if event["cartId"] != document["cartId"]:
        raise ValueError(f"event {event['version']} is of another cart")
    return Envelope.from_json({**fields, "userId": NOBODY})
