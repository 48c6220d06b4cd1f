"""Which events take back a shopper's command or carry it out again. Pure; nothing is ever erased.

A cart's history is read as a list of commands: events that share ``metadata.command_id``, or single events without
one. Some are the shopper's, the others the shop's (prices, expiries, abandonment, checkout started, a hand-over to
another cart). Undo gives the cart the lines and coupons it would have had if the shopper's last command had not been
given and all else had happened; redo puts that command back in its old place. So what the shop did in between stays.
A command whose going leaves no trace, such as a coupon that has expired since, goes together with the one before it:
an undo always does something that can be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from cart_core.commands.restore import restore
from cart_core.commands.words import Decision
from cart_core.errors import Refused
from cart_core.events import CouponApplied, CouponRemoved, Envelope, ItemAdded, ItemRemoved, QuantityChanged
from cart_core.projector import CartState, fold


def undo(history: Sequence[Envelope]) -> Decision:
    """The events that take back the shopper's last command, given the whole history of one cart, versions ascending.

    Repeated, it walks further back. Each event carries ``metadata.undoes`` (the command taken back) and
    ``metadata.undone`` (its first event's type). Raises Refused (checked_out, nothing_to_undo).
    """
    state, past = _open_cart(history)
    while past.done:
        command = past.take_back()
        draft = restore(state, past.fold(), "undo")
        if draft.events:
            return draft.done(undoes=command.key, undone=command.type)
    raise Refused("nothing_to_undo", f"no command of the shopper is left to take back{_of(state)}")


def redo(history: Sequence[Envelope]) -> Decision:
    """The events that carry out again what the last undo took back, given the whole history of one cart.

    Repeated, it walks forward until nothing is taken back any more. A new command of the shopper ends that. Each event
    carries ``metadata.redoes`` and ``metadata.redone``. Raises Refused (checked_out, nothing_to_redo).
    """
    state, past = _open_cart(history)
    while past.taken:
        command = past.put_back()
        draft = restore(state, past.fold(), "redo")
        if draft.events:
            return draft.done(redoes=command.key, redone=command.type)
    raise Refused("nothing_to_redo", f"nothing was taken back since the last new command{_of(state)}")


@dataclass(frozen=True, slots=True, eq=False)
class _Command:
    """The events of one command, and the name that undo and redo know it by."""

    key: str
    events: tuple[Envelope, ...]

    @property
    def type(self) -> str:
        """The type of its first event that is the shopper's."""
        return next((each.event.type for each in self.events if _by_shopper(each)), self.events[0].event.type)

    def goes_by(self, mark: str) -> bool:
        """Whether an undo or redo marked so means this command."""
        return mark == self.key or any(mark == envelope.event_id for envelope in self.events)


@dataclass(slots=True)
class _Past:
    """A history as commands: all that took effect, the shopper's among them, and what each undo took back."""

    commands: list[_Command] = field(default_factory=list)
    out: set[_Command] = field(default_factory=set)
    done: list[_Command] = field(default_factory=list)
    taken: list[list[_Command]] = field(default_factory=list)

    def copy(self) -> _Past:
        return _Past(list(self.commands), set(self.out), list(self.done), [list(step) for step in self.taken])

    def fold(self) -> CartState:
        """The cart as it would be had the commands that were taken back never been given."""
        return fold([envelope for command in self.commands if command not in self.out for envelope in command.events])

    def take_back(self) -> _Command:
        """Take out the shopper's last command."""
        command = self.done.pop()
        self.out.add(command)
        return command

    def put_back(self) -> _Command:
        """Put in again what the last undo took out; its first command."""
        step = self.taken.pop()
        self.out.difference_update(step)
        self.done.extend(step)
        return step[0]

    def read(self, command: _Command) -> None:
        """Read on by one command."""
        if not self.read_mark(command):
            self.read_new(command)

    def read_new(self, command: _Command) -> None:
        """Read a command that takes nothing back and redoes nothing."""
        self.commands.append(command)
        if any(_by_shopper(envelope) for envelope in command.events):
            self.done.append(command)
            self.taken.clear()

    def read_mark(self, command: _Command) -> bool:
        """Read an undo or redo; False, and nothing changes, if it is none or means nothing that could be meant."""
        metadata = command.events[0].metadata
        if "undoes" in metadata:
            return self._read_undo(metadata["undoes"])
        return "redoes" in metadata and self._read_redo(metadata["redoes"])

    def _read_undo(self, mark: str) -> bool:
        depth = next((at for at in reversed(range(len(self.done))) if self.done[at].goes_by(mark)), None)
        if depth is None:
            return False
        self.taken.append(self.done[depth:])
        self.out.update(self.done[depth:])
        del self.done[depth:]
        return True

    def _read_redo(self, mark: str) -> bool:
        if not any(step[0].goes_by(mark) for step in self.taken):
            return False
        while not self.put_back().goes_by(mark):
            pass
        return True


def _open_cart(history: Sequence[Envelope]) -> tuple[CartState, _Past]:
    state = fold(history)
    if state.status == "checked_out":
        raise Refused("checked_out", f"cart {state.cart_id} was checked out; nothing in it may be taken back")
    past = _Past()
    for command in _commands(history):
        past.read(command)
    return state, past if _same_content(past.fold(), state) else _read_doubting(history)


def _read_doubting(history: Sequence[Envelope]) -> _Past:
    """Read a history whose marks are not all true: one counts only where the cart became what it claims."""
    past, seen = _Past(), 0
    for command in _commands(history):
        seen += len(command.events)
        believed = past.copy()
        if believed.read_mark(command) and _same_content(believed.fold(), fold(history[:seen])):
            past = believed
        else:
            past.read_new(command)
    return past


def _commands(history: Iterable[Envelope]) -> Iterator[_Command]:
    for key, group in groupby(history, lambda envelope: envelope.metadata.get("command_id") or envelope.event_id):
        yield _Command(key, tuple(group))


def _same_content(one: CartState, other: CartState) -> bool:
    return one.lines == other.lines and one.coupons == other.coupons


def _by_shopper(envelope: Envelope) -> bool:
    if "merged_into" in envelope.metadata:
        return False
    if isinstance(envelope.event, CouponRemoved):
        return envelope.event.reason not in ("expired", "invalid")
    return isinstance(envelope.event, _SHOPPERS) or "merged_from" in envelope.metadata


_SHOPPERS = (ItemAdded, ItemRemoved, QuantityChanged, CouponApplied)


def _of(state: CartState) -> str:
    return f" in cart {state.cart_id}" if state.version else ""
