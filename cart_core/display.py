"""A cart's life in a notebook: its events as a table that shows itself, and a slider from its first to its last.

``CartState`` shows itself as well. What is shown is HTML without scripts or outside resources; all text from events is
escaped. The slider needs the extra notebooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cart_core.errors import Refused
from cart_core.events import Envelope, Event
from cart_core.projector import CartFold, CartState
from cart_core.projector.showing import amount, moment, state_html, table_html

if TYPE_CHECKING:
    from ipywidgets import VBox

__all__ = ["Timeline", "slider", "state_html", "timeline"]

COLUMNS = ("version", "happened", "event", "what", "units", "total", "status")
MARKS = {"undoes": "undo", "redoes": "redo"}


@dataclass(frozen=True, slots=True)
class Timeline:
    """A cart's events in version order, each with the cart as it was right after it."""

    events: tuple[Envelope, ...]
    states: tuple[CartState, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row per event: version, happened (UTC, to the second), event, what, units, total, status."""
        return [
            dict(zip(COLUMNS, _row(event, state), strict=True))
            for event, state in zip(self.events, self.states, strict=True)
        ]

    def _repr_html_(self) -> str:
        return table_html(COLUMNS, [list(row.values()) for row in self.rows()])

    def __repr__(self) -> str:
        if not self.events:
            return "Timeline of no events"
        first, last = self.events[0], self.events[-1]
        return f"Timeline of cart {first.cart_id}: versions {first.version} to {last.version}"


def timeline(history: Iterable[Envelope]) -> Timeline:
    """The life of one cart from its events, given in any order; as ``store.read`` gives them.

    Raises OutOfOrder where a version stands twice or events belong to different carts.
    """
    events = tuple(sorted(history, key=lambda each: each.version))
    folding = CartFold()
    return Timeline(events, tuple(_states(folding, events)))


def slider(history: Iterable[Envelope]) -> VBox:
    """A slider over a cart's life with the cart as it was at each event; to be shown as the last value of a cell.

    Raises Refused (not_installed) where ipywidgets is missing, (no_events) where there is no event, and as
    ``timeline``.
    """
    try:
        from ipywidgets import HTML, Layout, SelectionSlider, VBox
    except ImportError as error:
        raise Refused("not_installed", f"a slider needs: pip install 'cart-workbench[notebooks]' ({error})") from error
    life = timeline(history)
    if not life.events:
        raise Refused("no_events", "there is no event to slide over: the cart is unknown, or was not there by then")
    stops = [(f"{each.version}: {moment(each.timestamp)}", place) for place, each in enumerate(life.events)]
    chosen = SelectionSlider(
        options=stops, value=len(stops) - 1, description="event", continuous_update=True, layout=Layout(width="100%")
    )
    shown = HTML(_moment_html(life, chosen.value))

    def move(change: dict[str, Any]) -> None:
        shown.value = _moment_html(life, change["new"])

    chosen.observe(move, names="value")
    return VBox([chosen, shown])


def _states(folding: CartFold, events: Sequence[Envelope]) -> Iterable[CartState]:
    for event in events:
        folding.apply(event)
        yield folding.state()


def _moment_html(life: Timeline, place: int) -> str:
    row = table_html(COLUMNS, [_row(life.events[place], life.states[place])])
    return row + state_html(life.states[place])


def _row(envelope: Envelope, state: CartState) -> tuple[object, ...]:
    mark = next((f" ({word})" for key, word in MARKS.items() if key in envelope.metadata), "")
    return (
        envelope.version,
        moment(envelope.timestamp),
        envelope.event.type + mark,
        _told(envelope.event),
        state.unit_count,
        amount(state.total_cents, state.currency),
        state.status,
    )


def _told(event: Event) -> str:
    """The fields of an event as words, amounts in major units."""
    currency = getattr(event, "currency", None)
    return ", ".join(_field(name, value, currency) for name, value in event.to_json().items() if name != "type")


def _field(name: str, value: object, currency: str | None) -> str:
    if name.endswith("Cents") and isinstance(value, int):
        return f"{name.removesuffix('Cents')} {amount(value, currency)}"
    return f"{name} {value}"
