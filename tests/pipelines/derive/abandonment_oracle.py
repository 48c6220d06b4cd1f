"""Abandonment by its definition, cart by cart, in plain Python over the reference fold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from cart_core.events import CouponRemoved, Envelope
from cart_core.projector import fold

ACTS = {"ItemAdded", "ItemRemoved", "QuantityChanged", "CouponApplied", "CouponRemoved", "CheckoutStarted"}


def is_activity(envelope: Envelope) -> bool:
    """Whether a shopper did it: an expired or invalid coupon leaves without one."""
    event = envelope.event
    quiet = isinstance(event, CouponRemoved) and event.reason in ("expired", "invalid")
    return event.type in ACTS and not quiet


def episodes(events: Iterable[Envelope], as_of: datetime, idle: timedelta, window: timedelta) -> list[dict[str, Any]]:
    """The episodes of all carts, by cart and number."""
    carts: dict[str, list[Envelope]] = {}
    for envelope in events:
        carts.setdefault(envelope.cart_id, []).append(envelope)
    found = [
        row
        for cart in sorted(carts)
        for row in _of_cart([each for each in carts[cart] if each.timestamp <= as_of], as_of, idle, window)
    ]
    return sorted(found, key=lambda row: (row["cart_id"], row["episode_no"]))


def _of_cart(events: list[Envelope], as_of: datetime, idle: timedelta, window: timedelta) -> list[dict[str, Any]]:
    completed = min((each.timestamp for each in events if each.event.type == "CheckoutCompleted"), default=None)
    acts = sorted(each.timestamp for each in events if is_activity(each))
    rows: list[dict[str, Any]] = []
    for last, following in zip(acts, [*acts, None][1:], strict=True):
        if completed is not None and completed <= last:
            continue
        resumed = following if completed is None or following is None or following <= completed else None
        ends = min((moment for moment in (resumed, completed) if moment is not None), default=None)
        opened = last + idle
        if opened > (as_of if ends is None else min(ends, as_of)):
            continue
        state = fold(each for each in events if each.timestamp <= opened and (ends is None or each.timestamp < ends))
        if state.unit_count:
            fate = _fate(opened, resumed, completed, window, as_of)
            rows.append(_row(state, len(rows) + 1, last, opened, idle) | fate)
    for row in rows:
        row["credited"] = row["outcome"] == "recovered" and row is rows[-1]
    return rows


def _row(state: Any, number: int, last: datetime, opened: datetime, idle: timedelta) -> dict[str, Any]:
    return {
        "cart_id": state.cart_id,
        "episode_no": number,
        "user_id": state.user_id,
        "idle_s": idle // timedelta(seconds=1),
        "last_activity_at": last,
        "abandoned_at": opened,
        "stage": "cart" if state.checkout_started_at is None else "checkout",
        "line_count": state.line_count,
        "unit_count": state.unit_count,
        "currency": state.currency,
        "subtotal_cents": state.subtotal_cents,
        "discount_cents": state.discount_cents,
        "value_cents": state.total_cents,
        "last_version": state.version,
    }


def _fate(
    opened: datetime, resumed: datetime | None, completed: datetime | None, window: timedelta, as_of: datetime
) -> dict[str, Any]:
    over = opened + window
    if completed is not None and completed <= over:
        outcome, resolved = "recovered", completed
    elif resumed is not None and resumed <= over:
        outcome, resolved = "resumed", resumed
    elif over <= as_of:
        outcome, resolved = "lost", over
    else:
        outcome, resolved = "open", None
    recovered = completed if outcome == "recovered" else None
    return {
        "outcome": outcome,
        "resumed_at": resumed,
        "recovered_at": recovered,
        "resolved_at": resolved,
        "mature": over <= as_of,
        "recovery_s": None if recovered is None else (recovered - opened) / timedelta(seconds=1),
    }
