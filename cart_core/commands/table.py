"""The table of every command in every state of a cart, worked out by giving the commands. Pure.

``python -m cart_core.commands.table > docs/commands.md`` writes the page; a test keeps it true.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from cart_core.commands.decide import decide
from cart_core.commands.undo import redo, undo
from cart_core.commands.words import (
    REFUSALS,
    AddItem,
    ApplyCoupon,
    Command,
    CompleteCheckout,
    Decision,
    ExpireCoupon,
    HandOver,
    MarkAbandoned,
    MergeCart,
    RemoveCoupon,
    RemoveItem,
    SetQuantity,
    StartCheckout,
    UpdatePrice,
)
from cart_core.errors import Refused
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    Envelope,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import CartState, fold

CART = UUID("00000000-0000-4000-8000-000000000001")
GUEST = UUID("00000000-0000-4000-8000-000000000002")
START = datetime(2026, 1, 1, tzinfo=UTC)
SOAP = ItemAdded("soap", "Soap", 2, 2900, "USD")
TEN = CouponApplied("TEN", "percentage", 10)

HISTORIES: dict[str, tuple[Event, ...]] = {
    "empty": (),
    "2 soap at 2900, coupon TEN": (SOAP, TEN),
    "the same, abandoned": (SOAP, TEN, CartAbandoned(START)),
    "the same, checkout started": (SOAP, TEN, CheckoutStarted()),
    "the same, checked out": (SOAP, TEN, CheckoutStarted(), CheckoutCompleted("o1", 5220)),
}


def history(events: Sequence[Event], cart_id: UUID = CART) -> list[Envelope]:
    """The envelopes of a cart with these events, one a minute."""
    return [
        Envelope(
            str(uuid5(cart_id, str(version))), str(cart_id), "u1", START + timedelta(minutes=version), version, each
        )
        for version, each in enumerate(events, 1)
    ]


def written(decision: Decision, past: Sequence[Envelope]) -> list[Envelope]:
    """The envelopes of a decision on a cart with that past, as one command."""
    return [
        replace(each, version=len(past) + each.version, event_id=str(uuid5(GUEST, each.event_id)), metadata=metadata)
        for each, metadata in zip(history(decision), decision.metadata, strict=True)
    ]


GUESTS = fold(history((ItemAdded("soap", "Soap", 3, 3900, "USD"), ItemAdded("tea", "Tea", 1, 500, "USD")), GUEST))
COMMANDS: dict[str, Command] = {
    "add 1 soap at 2900": AddItem("soap", "Soap", 2900),
    "add 1 soap at 3900": AddItem("soap", "Soap", 3900),
    "add 1 tea at 500": AddItem("tea", "Tea", 500),
    "add 1 tea at 500 JPY": AddItem("tea", "Tea", 500, currency="JPY"),
    "add 0 tea": AddItem("tea", "Tea", 500, 0),
    "add 998 soap": AddItem("soap", "Soap", 2900, 998),
    "add 1 tea at 0": AddItem("tea", "Tea", 0),
    "remove soap": RemoveItem("soap"),
    "remove tea": RemoveItem("tea"),
    "set soap to 5": SetQuantity("soap", 5),
    "set soap to 2": SetQuantity("soap", 2),
    "set soap to 0": SetQuantity("soap", 0),
    "set soap to -1": SetQuantity("soap", -1),
    "apply coupon TEN": ApplyCoupon("TEN", "percentage", 10),
    "apply coupon OFF": ApplyCoupon("OFF", "fixed", 300),
    "apply a coupon of 150 %": ApplyCoupon("BIG", "percentage", 150),
    "remove coupon TEN": RemoveCoupon("TEN"),
    "remove coupon OFF": RemoveCoupon("OFF"),
    "expire coupon TEN": ExpireCoupon("TEN"),
    "the price of soap becomes 3900": UpdatePrice("soap", 3900, "supplier"),
    "the price of soap becomes 2900": UpdatePrice("soap", 2900, "supplier"),
    "mark as abandoned": MarkAbandoned(),
    "start checkout": StartCheckout(),
    "complete checkout, 5220 charged": CompleteCheckout("o1", 5220),
    "complete checkout, 6000 charged": CompleteCheckout("o1", 6000),
    "merge 3 soap at 3900, 1 tea: sum": MergeCart(GUESTS, "sum"),
    "merge 3 soap at 3900, 1 tea: keep_target": MergeCart(GUESTS, "keep_target"),
    "merge 3 soap at 3900, 1 tea: keep_source": MergeCart(GUESTS, "keep_source"),
    "hand over to another cart": HandOver(str(GUEST)),
}
UNDOS: dict[str, Callable[[Sequence[Envelope]], Decision]] = {
    "undo": undo,
    "redo": redo,
    "redo after that undo": lambda past: redo([*past, *written(undo(past), past)]),
}


def page() -> str:
    """The page docs/commands.md."""
    names = list(HISTORIES)
    head = ["| command | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    rows = [
        _row(label, [_tried(command, events) for events in HISTORIES.values()]) for label, command in COMMANDS.items()
    ]
    rows += [_row(label, [_undone(label, events) for events in HISTORIES.values()]) for label in UNDOS]
    refusals = [f"| `{code}` | {meaning} |" for code, meaning in REFUSALS.items()]
    parts = [INTRODUCTION, "\n".join(head + rows), REFUSED, "\n".join(["| code | meaning |", "|---|---|", *refusals])]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Commands

What each command does to a cart in each state: the events that are appended, in order, or the name under which it is
refused. This page is written by the code (`python -m cart_core.commands.table`) and checked by a test.

All events of one command share `metadata.command_id`. Undo passes over what the shop did (prices, expiries,
abandonment, checkout started); what it appends carries `metadata.undoes`, and a redo's events `metadata.redoes`."""
REFUSED = "## Refusals"


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {label} | " + " | ".join(cells) + " |"


def _tried(command: Command, events: Sequence[Event]) -> str:
    state = fold(history(events)) if events else CartState.empty(str(CART))
    try:
        return _told(decide(state, command))
    except Refused as refusal:
        return f"*{refusal.code}*"


def _undone(which: str, events: Sequence[Event]) -> str:
    try:
        return _told(UNDOS[which](history(events)))
    except Refused as refusal:
        return f"*{refusal.code}*"


def _told(decision: Decision) -> str:
    notes = {key: value for metadata in decision.metadata for key, value in metadata.items() if key in _SHOWN_NOTES}
    told = ", ".join(_short(event) for event in decision) or "nothing: it stands so"
    return told + "".join(f"; {key} = {value}" for key, value in notes.items())


_SHOWN_NOTES = ("total_mismatch", "projected_total_cents")


def _short(event: Event) -> str:
    if isinstance(event, ItemAdded):
        return f"ItemAdded {event.quantity} {event.product_id} at {event.price_per_unit_cents}"
    if isinstance(event, ItemRemoved):
        return f"ItemRemoved {event.product_id}"
    if isinstance(event, QuantityChanged):
        return f"QuantityChanged {event.product_id} {event.old_quantity} to {event.new_quantity}"
    if isinstance(event, PriceUpdated):
        return f"PriceUpdated {event.product_id} {event.old_price_cents} to {event.new_price_cents} ({event.reason})"
    code = getattr(event, "coupon_code", None)
    return event.type if code is None else f"{event.type} {code}"


if __name__ == "__main__":
    sys.stdout.write(page())
