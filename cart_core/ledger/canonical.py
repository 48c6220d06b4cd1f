"""Canonical JSON (RFC 8785) of any JSON value and, quickly, of one event: the bytes that a leaf hash is over.

An event's document is its envelope with ``userKey``, the store's number for the user, in place of ``userId``, and
without ``recordedAt`` and ``position``: forgetting a user changes no hash, and an event's hash is known before its
place is. Keys are sorted by UTF-16 code units; numbers print as ECMAScript prints them, save that integers keep all
their digits also beyond 2**53, where RFC 8785 has no form for them.
"""

from __future__ import annotations

import json.encoder
import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from cart_core import rules
from cart_core.events import FIELDS, Envelope, Field

quoted: Callable[[str], str] = json.encoder.encode_basestring
"""Text as JSON with exactly the escapes of RFC 8785; everything else stands as it is."""


def canonical_json(value: object) -> bytes:
    """The RFC 8785 form of a JSON value, as UTF-8.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot hold.
    """
    return _text(value).encode()


def canonical(envelope: Envelope, user_key: int) -> bytes:
    """The canonical JSON of one event: what its leaf hash is over."""
    metadata = f'"metadata":{_pairs(envelope.metadata.items())},' if envelope.metadata else ""
    event = envelope.event
    parts = []
    for prefix, name, render in _TEMPLATES[event.type]:
        value = getattr(event, name)
        if value is not None:
            parts.append(prefix + render(value))
    return (
        f'{{"cartId":"{envelope.cart_id}","event":{{{"".join(parts)}"type":"{event.type}"}},'
        f'"eventId":"{envelope.event_id}",{metadata}"timestamp":"{rules.format_time(envelope.timestamp)}",'
        f'"userKey":{user_key},"version":{envelope.version}}}'
    ).encode()


def number(value: float) -> str:
    """A double as ECMAScript prints it. Raises ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    if value == 0:
        return "0"
    shortest = repr(float(value))
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(shortest), "f").removesuffix(".0")
    mantissa, exponent = shortest.split("e")
    return f"{mantissa}e{int(exponent):+d}"


def sort_key(key: str) -> bytes:
    """What RFC 8785 sorts an object's keys by: their UTF-16 code units."""
    return key.encode("utf-16-be")


def _text(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return _pairs(value.items())
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    ordered = sorted(pairs, key=lambda pair: sort_key(pair[0]))
    return "{" + ",".join(f"{quoted(key)}:{_text(value)}" for key, value in ordered) + "}"


def _template(specs: tuple[Field, ...]) -> list[tuple[str, str, Callable[[Any], str]]]:
    """What to write before each field, the field, and how; ``type`` sorts behind the fields of every event type."""
    return [
        (f'"{spec.json}":', spec.python, _RENDER[type(spec.rule)])
        for spec in sorted(specs, key=lambda spec: sort_key(spec.json))
    ]


_RENDER: dict[type[Any], Callable[[Any], str]] = {
    rules.Whole: lambda value: f"{value},",
    rules.Text: lambda value: quoted(value) + ",",
    rules.OneOf: lambda value: f'"{value}",',
    rules.Moment: lambda value: f'"{rules.format_time(value)}",',
    rules.Amount: lambda value: (str(value) if type(value) is int else number(value)) + ",",
}
_TEMPLATES = {name: _template(specs) for name, specs in FIELDS.items()}
