"""Clickstream files in as few words as possible: ``write(path, row(0, "cart", "p1"), row(5, "purchase", "p1"))``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2019, 10, 1, tzinfo=UTC)
HEADER = "event_time,event_type,product_id,price,user_id,user_session"
SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def row(second: int, kind: str, product: str, price: str = "5.00", session: str = SESSION, user: str = "u1") -> str:
    """One row of a REES46 file, ``second`` seconds after the start of October 2019."""
    moment = START + timedelta(seconds=second)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC,{kind},{product},{price},{user},{session}"


def write(path: Path, *rows: str, header: str = HEADER) -> str:
    """A file of rows behind a header, with a line end behind each; returns its name."""
    path.write_text("".join(f"{line}\n" for line in (header, *rows)))
    return str(path)
