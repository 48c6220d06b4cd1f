"""Check an audit pack of a cart ledger: python check_audit.py FOLDER [HEAD].

HEAD is the ledger's head as it was published or anchored. Needs Python 3.11 alone. Every file must be the one that
SHA256SUMS and manifest.json name; every event must lead to the root of its batch, and every batch to the head (RFC
6962); events that were not sealed must lead to the running hash; and none that was recorded in the period may lack.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import file_digest, sha256
from typing import Any

SUMS, MANIFEST, LEDGER, EVENTS = "SHA256SUMS", "manifest.json", "ledger.json", "events.jsonl"
ANCHORS = "anchors.jsonl"
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def canonical(value: object) -> bytes:
    """RFC 8785: keys sorted by UTF-16 code units, no blanks, no needless escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if text.isascii() or not isinstance(value, dict):
        return text.encode()
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return b"{" + b",".join(canonical(key) + b":" + canonical(value[key]) for key in keys) + b"}"


def root(size: int, known: dict[int, bytes], others: dict[str, dict[str, str]]) -> str:
    """The RFC 6962 root over ``size`` leaves: those in ``known``, and the hashes in ``others`` for all the rest."""
    for depth in range(size.bit_length() + 1):
        given = {int(place): bytes.fromhex(each) for place, each in others.get(str(depth), {}).items()}
        if known.keys() & given.keys():
            raise ValueError("a hash stands where an event does")
        known = {**known, **given}
        if size == 1:
            break
        pairs = {place & ~1 for place in known}
        known = {
            even >> 1: known[even] if even + 1 == size else sha256(b"\x01" + known[even] + known[even + 1]).digest()
            for even in pairs
        }
        size = (size + 1) // 2
    return known[0].hex()


def micros(text: str) -> int:
    """A moment as microseconds since 1970."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def number(value: int) -> bytes:
    """A number as hashes hold it."""
    return value.to_bytes(8, "big", signed=True)


def load(folder: str, name: str) -> dict[str, Any]:
    """A JSON file of the pack."""
    with open(os.path.join(folder, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - as few imports to trust as can be
        found: dict[str, Any] = json.load(file)
    return found


def digests(folder: str) -> dict[str, str]:
    """The SHA-256 of every file but the sums."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118
            with open(path, "rb") as file:  # noqa: PTH123
                found[os.path.relpath(path, folder).replace(os.sep, "/")] = file_digest(file, "sha256").hexdigest()
    found.pop(SUMS, None)
    return dict(sorted(found.items()))


def file_problems(folder: str) -> Iterator[str]:
    """Files that are missing, not of the pack, or not what they were."""
    found = digests(folder)
    with open(os.path.join(folder, SUMS), "rb") as file:  # noqa: PTH118, PTH123
        text = file.read()
    lines = text.decode("utf-8", "replace").splitlines()
    told = {name: each for each, _, name in (line.partition("  ") for line in lines)}
    for name in sorted({*told, *found}):
        if told.get(name) != found.get(name):
            yield f"{name}: " + ("is missing" if name not in found else f"is not what {SUMS} says it was")
    if text != "".join(f"{each}  {name}\n" for name, each in found.items()).encode():
        yield f"{SUMS}: is not what it was, or a file is not"
    if load(folder, MANIFEST)["files"] != {name: each for name, each in found.items() if name != MANIFEST}:
        yield f"{MANIFEST}: files: are not those of the folder"


def read_events(
    folder: str, manifest: dict[str, Any], leaves: dict[int, bytes], recorded: dict[int, int]
) -> Iterator[str]:
    """Fill leaves and moments of recording by position; tell lines that are not of the period, or no event."""
    by, start, end = manifest["by"], micros(manifest["from"]), micros(manifest["to"])
    with open(os.path.join(folder, EVENTS), "rb") as file:  # noqa: PTH118, PTH123
        for line, text in enumerate(file, 1):
            each = json.loads(text)
            event, place = canonical(each["event"]), each["position"]
            known, happened = micros(each["recordedAt"]), micros(each["event"]["timestamp"])
            within = {"recorded": start <= known <= end, "happened": start <= happened <= end}
            told = b'{"event":%b,"position":%d,"recordedAt":%b}\n' % (event, place, canonical(each["recordedAt"]))
            if place in leaves or told != text or not within.get(by, any(within.values())):
                yield f"{EVENTS} line {line}: is there twice, not canonical, or not of the period"
            leaves[place], recorded[place] = sha256(b"\x00" + event).digest(), known
    if len(leaves) != manifest["events"]:
        yield f"{EVENTS}: has {len(leaves)} events, not {manifest['events']}"


def head_of(batches: list[dict[str, Any]]) -> str:
    """The head over batches."""
    leaves = {place: sha256(b"\x00" + sha256(canonical(each)).digest()).digest() for place, each in enumerate(batches)}
    tree = root(len(batches), leaves, {}) if batches else sha256(b"").hexdigest()
    return sha256(canonical({"batches": len(batches), "root": tree})).hexdigest()


def anchor_problems(folder: str, batches: list[dict[str, Any]], manifest: dict[str, Any]) -> Iterator[str]:
    """Anchors that the chain does not begin with. Who signed them is not looked at here."""
    if ANCHORS not in manifest["files"]:
        return
    with open(os.path.join(folder, ANCHORS), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        for line, text in enumerate(file, 1):
            each = json.loads(text)
            wanted = (manifest["store"], head_of(batches[: each["batches"]]))
            if (each["store"], each["head"]) != wanted or each["batches"] > len(batches):
                yield f"{ANCHORS} line {line}: the batches do not begin with what was anchored"


def chain_problems(batches: list[dict[str, Any]], manifest: dict[str, Any], head: str) -> Iterator[str]:
    """Batches that do not follow the one before, and a head that they do not lead to."""
    previous = "00" * 32
    for place, batch in enumerate(batches):
        if batch["batch"] != place + 1 or batch["previous"] != previous:
            yield f"{LEDGER} batch {place + 1}: does not follow the one before it"
        previous = sha256(canonical(batch)).hexdigest()
    if head_of(batches) != manifest["head"]:
        yield f"{LEDGER}: its batches do not lead to the head in {MANIFEST}"
    if head not in ("-", manifest["head"]):
        yield f"{MANIFEST} head: is {manifest['head']}, not the published {head}"


def batch_problems(batch: dict[str, Any], path: dict[str, Any], leaves: dict[int, bytes]) -> Iterator[str]:
    """Moments and events of a batch that are not those that were sealed."""
    runs = b"".join(number(moment) + number(rows) for moment, rows in path["recorded"])
    if sha256(runs).hexdigest() != batch["recorded"] or sum(rows for _, rows in path["recorded"]) != batch["rows"]:
        yield f"{LEDGER} batch {batch['batch']}: its moments of recording are not those that were sealed"
    first = batch["firstPosition"]
    mine = {place: leaves[first + place] for place in range(batch["rows"]) if first + place in leaves}
    try:
        if mine and root(batch["rows"], mine, path["others"]) != batch["root"]:
            yield f"{EVENTS}: an event of batch {batch['batch']} is not what was sealed"
    except KeyError as error:
        yield f"{EVENTS}: an event of batch {batch['batch']} is missing, or a hash beside it ({error})"


def journal_problems(journal: dict[str, Any], leaves: dict[int, bytes]) -> Iterator[str]:
    """Events that were not sealed yet and are not what was recorded."""
    running = bytes.fromhex(journal["previous"])
    for place, moment, each in journal["rows"]:
        leaf = bytes.fromhex(each)
        if leaves.get(place, leaf) != leaf:
            yield f"{EVENTS}: the event at position {place}, in the journal, is not what was recorded"
        running = sha256(running + leaf + number(place) + number(moment)).digest()
    if running.hex() != journal["running"]:
        yield f"{LEDGER} journal: its rows do not lead to its running hash"


def moments(ledger: dict[str, Any]) -> dict[int, int]:
    """The moment of recording by position, in order, of every row whose moment the pack proves."""
    found = {place: moment for place, moment, _ in ledger["journal"]["rows"]}
    for name, path in ledger["paths"].items():
        place = ledger["batches"][int(name) - 1]["firstPosition"]
        for moment, rows in path["recorded"]:
            found.update(dict.fromkeys(range(place, place + rows), moment))
            place += rows
    return dict(sorted(found.items()))


def place_problems(ledger: dict[str, Any], manifest: dict[str, Any], known: dict[int, int]) -> Iterator[str]:
    """Positions that lack, and batches whose moments are not shown though they may lie in the period."""
    start, end = micros(manifest["from"]), micros(manifest["to"])
    spans = [(each["firstPosition"], each["rows"]) for each in ledger["batches"]]
    spans += [(place, 1) for place, _, _ in ledger["journal"]["rows"]]
    wanted = 1
    unshown: int | None = None
    earlier: int | None = None
    for first, rows in [*sorted(spans), (manifest["position"] + 1, 0)]:
        if first != wanted:
            yield f"{LEDGER}: position {wanted} is missing, or there twice"
        wanted, at = first + rows, known.get(first)
        if at is None and rows:
            unshown = unshown or first
            continue
        if earlier is not None and at is not None and at < earlier:
            yield f"{LEDGER}: position {first} was recorded before the one in front of it"
        outside = (earlier is not None and earlier > end) or (at is not None and at < start)
        if unshown and not outside and manifest["by"] != "happened":
            yield f"{LEDGER}: position {unshown} may have been recorded in the period, and is not shown"
        unshown, earlier = None, known.get(first + rows - 1)


def period_problems(manifest: dict[str, Any], known: dict[int, int], recorded: dict[int, int]) -> Iterator[str]:
    """Events recorded in the period that are not in the pack, or at another moment than they say."""
    start, end = micros(manifest["from"]), micros(manifest["to"])
    for place, moment in recorded.items():
        if known.get(place) != moment:
            yield f"{EVENTS}: the event at position {place} was not recorded when it says"
    for place, moment in known.items():
        if manifest["by"] != "happened" and start <= moment <= end and place not in recorded:
            yield f"{EVENTS}: the event at position {place} was recorded in the period and is missing"


def trail_problems(folder: str, head: str) -> Iterator[str]:
    """What the events, the chain and the period are not, place by place."""
    manifest, ledger = load(folder, MANIFEST), load(folder, LEDGER)
    leaves: dict[int, bytes] = {}
    recorded: dict[int, int] = {}
    yield from read_events(folder, manifest, leaves, recorded)
    yield from chain_problems(ledger["batches"], manifest, head)
    yield from anchor_problems(folder, ledger["batches"], manifest)
    for name in [name for name in ledger["paths"] if int(name) > len(ledger["batches"])]:
        yield f"{LEDGER} batch {name}: is missing"
        del ledger["paths"][name]
    for name, path in ledger["paths"].items():
        yield from batch_problems(ledger["batches"][int(name) - 1], path, leaves)
    yield from journal_problems(ledger["journal"], leaves)
    known = moments(ledger)
    yield from place_problems(ledger, manifest, known)
    yield from period_problems(manifest, known, recorded)


def problems(folder: str, head: str = "-") -> list[str]:
    """What is wrong with a pack, place by place; nothing if it holds."""
    found: list[str] = []
    for check in (file_problems(folder), trail_problems(folder, head)):
        try:
            found.extend(check)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            found.append(f"the pack cannot be read any further: {error!r}")
    return found


def main(folder: str, head: str = "-") -> int:
    """Print what is wrong, or that all holds; 1 if something is wrong."""
    found = problems(folder, head)
    sys.stdout.writelines(f"{each}\n" for each in found or [f"{folder} holds"])
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
