"""Users: the number that events carry, the name behind it, which can be erased, and what holds the name to the number.

A name's commitment is SHA-256(salt || user_key || name): 16 random bytes, 8 bytes big-endian, UTF-8. Every batch of the
chain vouches for the commitments of the users given since the one before. To forget erases name and salt and keeps the
commitment, from which nobody can guess the name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Batch, Connection

SALT_BYTES = 16
UNKNOWN = bytes(32)
"""In place of the commitment of a user who was forgotten before the store kept commitments."""
KEYS_PER_QUERY = 50_000

Held = tuple[int, str | None, bytes | None, bytes | None]


def commitment(salt: bytes, user_key: int, user_id: str) -> bytes:
    """What holds a name to its number, and tells nothing of it once the salt is gone."""
    return sha256(salt + user_key.to_bytes(8, "big") + user_id.encode()).digest()


def key(db: Connection, user_id: str) -> int:
    """The number of a user, given now where there was none."""
    known = catalog.find_user(db, user_id)
    return _give(db, [user_id])[user_id] if known is None else known


def keys(db: Connection, user_ids: Sequence[str]) -> dict[str, int]:
    """The numbers of many users, given now where there were none."""
    known = catalog.known_users(db, sorted(user_ids))  # neighbours stand on one page of the database
    return known | _give(db, [each for each in dict.fromkeys(user_ids) if each not in known])


def last_key(db: Connection) -> int:
    """The number given last, be its user forgotten or not; 0 before the first."""
    return int(db.execute("SELECT user_key FROM state WHERE id = 1").fetchone()[0])


def forget(db: Connection, user_id: str) -> int | None:
    """Erase the name behind a number for good; the number, or None where the store knows no such user."""
    found = catalog.find_user(db, user_id)
    db.execute("UPDATE state SET forgotten = forgotten + 1 WHERE id = 1")
    if found is not None:
        db.execute("INSERT INTO forgotten SELECT user_key, commitment FROM users WHERE user_key = ?", (found,))
        db.execute("DELETE FROM users WHERE user_key = ?", (found,))
    return found


def sealed_names(db: Connection, after: int, until: int) -> bytes:
    """SHA-256 over ``until`` and the commitments of the users with after < number <= until, in their order."""
    digest = sha256(until.to_bytes(8, "big"))
    for _, _, _, committed in held(db, after, until):
        digest.update(committed or UNKNOWN)
    return digest.digest()


def held(db: Connection, after: int, until: int) -> Iterator[Held]:
    """Number, name, salt and commitment of users with after < number <= until, ascending; name and salt may be gone."""
    sql = (
        "SELECT user_key, user_id, salt, commitment FROM users WHERE user_key > ? AND user_key <= ? "
        "UNION ALL SELECT user_key, NULL, NULL, commitment FROM forgotten WHERE user_key > ? AND user_key <= ? "
        "ORDER BY 1"
    )
    for start in range(after, until, KEYS_PER_QUERY):
        part = (start, min(until, start + KEYS_PER_QUERY))
        for number, name, salt, committed in db.execute(sql, part * 2).fetchall():
            yield number, name, None if salt is None else bytes(salt), None if committed is None else bytes(committed)


def commit_known(db: Connection) -> None:
    """Hold every name to its number that is there without a commitment, and number those that were forgotten."""
    db.execute("CREATE TEMP TABLE held AS SELECT user_key, salt, commitment FROM users WHERE 1 = 0")
    last = last_key(db)
    for start in range(0, last, KEYS_PER_QUERY):
        part = (start, min(last, start + KEYS_PER_QUERY))
        rows = db.execute("SELECT user_key, user_id FROM users WHERE user_key > ? AND user_key <= ?", part).fetchall()
        db.executemany("INSERT INTO held (user_key, salt, commitment) VALUES (?, ?, ?)", _salted(rows))
        gone = sorted(set(range(part[0] + 1, part[1] + 1)) - {number for number, _ in rows})
        insert_forgotten(db, [(each, None) for each in gone])
    given = "salt = held.salt, commitment = held.commitment FROM held WHERE held.user_key = users.user_key"
    db.execute(f"UPDATE users SET {given}")  # noqa: S608
    db.execute("DROP TABLE held")


def named(db: Connection) -> list[tuple[int, str, bytes, bytes]]:
    """Number, name, salt and commitment of every user who has a name, ascending."""
    rows = db.execute("SELECT user_key, user_id, salt, commitment FROM users ORDER BY user_key").fetchall()
    return [(number, name, bytes(salt), bytes(committed)) for number, name, salt, committed in rows]


def forgotten(db: Connection) -> list[tuple[int, bytes | None]]:
    """Number and commitment of every user who was forgotten, ascending."""
    rows = db.execute("SELECT user_key, commitment FROM forgotten ORDER BY user_key").fetchall()
    return [(number, None if committed is None else bytes(committed)) for number, committed in rows]


def insert(db: Connection, rows: Sequence[tuple[int, str, bytes, bytes]]) -> None:
    """Write users with their numbers, names, salts and commitments."""
    db.executemany("INSERT INTO users (user_key, user_id, salt, commitment) VALUES (?, ?, ?, ?)", rows)


def insert_forgotten(db: Connection, rows: Sequence[tuple[int, bytes | None]]) -> None:
    """Write users who were forgotten, with the commitments that are left."""
    db.executemany("INSERT INTO forgotten (user_key, commitment) VALUES (?, ?)", rows)


def problems(db: Connection, batches: Sequence[Batch]) -> list[str]:
    """Which names are not those that were given, or not those that the chain vouches for; each naming the number."""
    found: list[str] = []
    covered = 0
    for batch in batches:
        if batch.names is not None:
            digest = sha256(batch.user_key.to_bytes(8, "big"))
            found += _span_problems(db, covered, batch.user_key, digest)
            if digest.digest() != batch.names:
                who = _who(covered + 1, batch.user_key)
                found.append(f"batch {batch.batch}: the names of {who} are not those that were sealed")
        elif batch.user_key != covered:
            found.append(f"batch {batch.batch}: the number of its last user is altered")
        covered = max(covered, batch.user_key)
    last = last_key(db)
    found += _span_problems(db, covered, last, sha256())
    beyond = "SELECT user_key FROM users WHERE user_key > ? OR user_key < 1 ORDER BY 1"
    found += [f"user {row[0]}: this number was never given" for row in db.execute(beyond, (last,)).fetchall()]
    return found


def _span_problems(db: Connection, after: int, until: int, digest: Any) -> Iterator[str]:
    expected = after + 1
    for number, name, salt, committed in held(db, after, until):
        if number < expected:
            yield f"user {number}: is named, though this user was forgotten"
            continue
        yield from _lacking(expected, number)
        expected = number + 1
        digest.update(committed or UNKNOWN)
        if name is not None and (salt is None or commitment(salt, number, name) != committed):
            yield f"user {number}: the name is not the one that was given"
    yield from _lacking(expected, until + 1)


def _lacking(first: int, end: int) -> Iterator[str]:
    if first < end:
        yield f"{_who(first, end - 1)}: neither named nor marked as forgotten"


def _who(first: int, last: int) -> str:
    return f"user {first}" if first == last else f"users {first} to {last}"


def _give(db: Connection, user_ids: Sequence[str]) -> dict[str, int]:
    if not user_ids:
        return {}
    sql = "UPDATE state SET user_key = user_key + ? WHERE id = 1 RETURNING user_key"
    last = int(db.execute(sql, (len(user_ids),)).fetchone()[0])
    given = dict(zip(user_ids, range(last - len(user_ids) + 1, last + 1), strict=True))
    named = [(number, name) for name, number in given.items()]
    insert(db, [(*user, salt, held) for user, (_, salt, held) in zip(named, _salted(named), strict=True)])
    return given


def _salted(named: Sequence[tuple[int, str]]) -> list[tuple[int, bytes, bytes]]:
    """Number, a new salt and the commitment of each user."""
    salts = os.urandom(SALT_BYTES * len(named))
    return [
        (number, salt, commitment(salt, number, name))
        for place, (number, name) in enumerate(named)
        if (salt := salts[place * SALT_BYTES : (place + 1) * SALT_BYTES])
    ]
