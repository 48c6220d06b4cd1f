"""Check that events stand in a cart ledger: python check_proof.py HEAD PROOF.json ...

HEAD is the ledger's head as it was published or anchored; with - only the proofs' own sums are checked.
Needs Python alone: one Merkle path (RFC 6962) leads from the event to the root of its batch, another from the batch
to the head. A path is its hashes in base64url (RFC 4648), 43 letters each.
"""

import json
import sys
from hashlib import sha256

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FIELDS = {"batch", "batchPath", "batches", "event", "eventPath", "head", "index", "proof"}


def canonical(value: object) -> bytes:
    """RFC 8785: keys sorted by UTF-16 code units, no blanks, no needless escapes."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return b"{" + b",".join(canonical(key) + b":" + canonical(value[key]) for key in keys) + b"}"


def root(leaf: bytes, index: int, size: int, path: str) -> str:
    """Where the path leads leaf ``index`` of ``size``."""
    here, last = sha256(b"\x00" + leaf).digest(), size - 1
    if type(index) is not int or not 0 <= index <= last:
        raise ValueError(f"there is no leaf {index} of {size}")
    while last:
        if index ^ 1 <= last:
            number = sum(LETTERS.index(path[place]) << 6 * (42 - place) for place in range(43))
            if number % 4:
                raise ValueError("a hash ends in a letter that no 32 bytes end in")
            other, path = (number >> 2).to_bytes(32, "big"), path[43:]
            here = sha256(b"\x01" + (other + here if index & 1 else here + other)).digest()
        index, last = index >> 1, last >> 1
    if path:
        raise ValueError("the path is too long")
    return here.hex()


def problems(text: str, head: str = "-") -> list[str]:
    """What is wrong with a proof, place by place; nothing if it holds."""
    found, place = [], "document"
    try:
        proof = json.loads(text)
        batch, place = proof["batch"], "form"
        if canonical(proof) != text.strip("\n").encode() or set(proof) != FIELDS or proof["proof"] != 1:
            found.append("form: is not the canonical JSON of a proof of form 1")
        place = "event, index, eventPath"
        if root(canonical(proof["event"]), proof["index"], batch["rows"], proof["eventPath"]) != batch["root"]:
            found.append(f"{place}: do not lead to batch.root")
        place = "batch, batchPath, batches"
        tree = root(sha256(canonical(batch)).digest(), batch["batch"] - 1, proof["batches"], proof["batchPath"])
        if sha256(canonical({"batches": proof["batches"], "root": tree})).hexdigest() != proof["head"]:
            found.append(f"{place}: do not lead to head")
        if head not in ("-", proof["head"]):
            found.append(f"head: is {proof['head']}, not the published {head}")
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        found.append(f"{place}: {error}")
    return found


def main(head: str, names: list[str]) -> int:
    """Print a line per proof; 1 if one does not hold."""
    failed = 0
    for name in names:
        with open(name, encoding="utf-8") as file:  # noqa: PTH123 - as few imports to trust as can be
            found = problems(file.read(), head)
        failed |= bool(found)
        sys.stdout.write(f"{name}: {'; '.join(found) or 'holds'}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
