"""Load, fold, decide, append: the one way in which commands become events.

States come from the store's live states, which ask for a cart's version before they answer, so no decision rests on a
cart that another process has changed. What was decided is appended under the version that it was decided on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import uuid4

from cart_core.commands import AddItem, Decision, HandOver, MergeCart, decide, redo, undo
from cart_core.errors import CartError, ConcurrencyError, Refused
from cart_core.events import Envelope
from cart_core.projector import CartFold, CartState
from cart_core.service.answers import Answers, by_key, same_request
from cart_core.service.asks import (
    KEY_NOTE,
    REQUEST_NOTE,
    Answer,
    Ask,
    MergeAsk,
    Redo,
    Undo,
    Who,
    key_mark,
    request_mark,
)
from cart_core.service.catalogue import PriceCatalogue
from cart_core.store.base import Store
from cart_core.store.requests import Append

CARTS_PER_LOOK = 50
TRIES = 6
"""A command is decided once and, where somebody else was quicker, up to five times again."""


class CartService:
    """Carries out commands on the carts of a store, for whoever may give them.

    Not for several threads at once: give all commands to one of them, in groups. Reading is safe from any thread.
    """

    def __init__(self, store: Store, *, catalogue: PriceCatalogue | None = None) -> None:
        self.store = store
        self._catalogue = catalogue
        self._answers = Answers(store)

    def ask(self, ask: Ask) -> Answer:
        """Carry out one command; when it returns, its events are durable.

        Raises Refused (a code of ``commands.REFUSALS`` or ``service.REFUSALS``), ConcurrencyError where the cart was
        changed by others at each of six tries, InvalidEvent for a malformed id, StoreError.
        """
        return _raised(self.ask_all([ask])[0])

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer | CartError]:
        """Carry out many commands, those for one cart in the order given, in one transaction of the store.

        Each gets its own answer, or its own error; one that is refused never harms its neighbours.
        """
        outcomes: list[Answer | CartError] = [_UNANSWERED] * len(asks)
        waiting = list(range(len(asks)))
        for _ in range(TRIES):
            waiting = self._round(asks, waiting, outcomes)
            if not waiting:
                break
        return outcomes

    def merge(self, ask: MergeAsk) -> Answer:
        """Bring a guest's cart into a user's; both carts change in one transaction, or none.

        Raises as ``ask`` does.
        """
        for _ in range(TRIES - 1):
            try:
                return self._merge(ask)
            except ConcurrencyError:
                continue
        return self._merge(ask)

    def cart(self, cart_id: str, who: Who, version: int | None = None, at: datetime | None = None) -> CartState:
        """A cart that somebody may read, now or as it was. Raises Refused (unknown_cart), InvalidEvent."""
        state = self.store.cart(cart_id)
        _check_reader(state, who)
        return state if version is None and at is None else self.store.cart(cart_id, version=version, at=at)

    def history(self, cart_id: str, who: Who) -> list[Envelope]:
        """Every event of a cart that somebody may read, by version. Raises Refused (unknown_cart), InvalidEvent."""
        _check_reader(self.store.cart(cart_id), who)
        return self.store.read(cart_id)

    def carts_of(self, who: Who, status: str | None = None, limit: int | None = None) -> list[CartState]:
        """The carts that belong to somebody, the latest touched first; at most ``limit`` of them."""
        return list(islice(self._carts_of(who, status), limit))

    def _carts_of(self, who: Who, status: str | None) -> Iterator[CartState]:
        cart_ids = self.store.carts_of(who.user_id)
        for start in range(0, len(cart_ids), CARTS_PER_LOOK):
            for state in self.store.carts(cart_ids[start : start + CARTS_PER_LOOK]):
                if state.user_id == who.user_id and status in (None, state.status):
                    yield state

    def _round(self, asks: Sequence[Ask], waiting: Sequence[int], outcomes: list[Answer | CartError]) -> list[int]:
        """Try each waiting ask once; those that must be tried again."""
        carts = self._carts(asks[place].cart_id for place in waiting)
        group: list[Append] = []
        places: list[int] = []
        for place in waiting:
            cart = carts[asks[place].cart_id]
            if isinstance(cart, CartError):
                outcomes[place] = cart
                continue
            try:
                outcome = self._decide(asks[place], cart)
            except CartError as error:
                outcomes[place] = error
                continue
            if isinstance(outcome, Append):
                group.append(outcome)
                places.append(place)
                outcomes[place] = Answer(cart.version, outcome.envelopes[-1].metadata)
            else:
                outcomes[place] = outcome
        lost = self._append(group, places, outcomes)
        for cart_id, cart in carts.items():
            if isinstance(cart, _Cart) and cart.news and cart_id not in lost:
                self._answers.grow(cart_id, cart.base.version, cart.news)
        again = [place for place in waiting if asks[place].cart_id in lost]
        for place in again:
            outcomes[place] = lost[asks[place].cart_id]
        return again

    def _carts(self, cart_ids: Iterable[str]) -> dict[str, _Cart | CartError]:
        """The carts by their ids; a cart that cannot be read harms no other."""
        wanted = list(dict.fromkeys(cart_ids))
        try:
            return dict(zip(wanted, map(_Cart, self.store.carts(wanted)), strict=True))
        except CartError:
            return {cart_id: self._cart(cart_id) for cart_id in wanted}

    def _cart(self, cart_id: str) -> _Cart | CartError:
        try:
            return _Cart(self.store.cart(cart_id))
        except CartError as error:
            return error

    def _append(
        self, group: list[Append], places: list[int], outcomes: list[Answer | CartError]
    ) -> dict[str, ConcurrencyError]:
        """Write what was decided; the carts in which somebody else was quicker."""
        lost: dict[str, ConcurrencyError] = {}
        for append, place, result in zip(group, places, self.store.append_group(group) if group else (), strict=True):
            if isinstance(result, ConcurrencyError):
                lost.setdefault(append.cart, result)
            elif isinstance(result, CartError):
                outcomes[place] = result
        return lost

    def _decide(self, ask: Ask, cart: _Cart) -> Append | Answer:
        _check_owner(cart.state, ask.who)
        if ask.key is not None and (known := self._known(ask, ask.key, cart)):
            return known
        _check_version(cart.state, ask.if_version)
        decision = self._decision(ask, cart)
        if not decision:
            return Answer(cart.state.version)
        append = self.store.prepare(
            cart.state.cart_id,
            decision.events,
            _writer(cart.state, ask.who),
            cart.state.version,
            timestamp=ask.timestamp,
            metadata=_notes(decision, ask),
        )
        cart.move(append)
        return append

    def _decision(self, ask: Ask, cart: _Cart) -> Decision:
        if isinstance(ask.what, Undo):
            return undo(cart.history(self.store))
        if isinstance(ask.what, Redo):
            return redo(cart.history(self.store))
        decision = decide(cart.state, ask.what)
        if self._catalogue is not None and isinstance(ask.what, AddItem):
            self._catalogue.check(ask.what, self.store.clock())
        return decision

    def _known(self, ask: Ask | MergeAsk, key: str, cart: _Cart) -> Answer | None:
        mark, request = key_mark(key), request_mark(ask)
        fresh = same_request(by_key(cart.news).get(mark), request)
        return fresh or self._answers.find(cart.base.cart_id, cart.base.version, mark, request)

    def _merge(self, ask: MergeAsk) -> Answer:
        cart, source = _Cart(self.store.cart(ask.cart_id)), self.store.cart(ask.from_cart_id)
        _check_owner(cart.state, ask.who)
        if ask.key is not None and (known := self._known(ask, ask.key, cart)):
            return known
        if source.version == 0:
            raise _unknown(source)
        _check_owner(source, ask.guest or ask.who)
        _check_version(cart.state, ask.if_version)
        gains = decide(cart.state, MergeCart(source, ask.strategy))
        leaves = decide(source, HandOver(cart.state.cart_id))
        now = self.store.clock()
        written = [
            *_envelopes(cart.state, gains, _notes(gains, ask), _writer(cart.state, ask.who), now),
            *_envelopes(source, leaves, _notes(leaves), _writer(source, ask.who), now),
        ]
        if written:
            self.store.append_many(written)
        return Answer(cart.state.version + len(gains), written[len(gains) - 1].metadata if gains else {})


@dataclass(slots=True)
class _Cart:
    """A cart in one round: as the store has it, and as it will be once what was decided is written."""

    base: CartState
    news: list[Envelope] = field(default_factory=list)
    _fold: CartFold | None = None
    _folded: int = 0
    _state: CartState | None = None

    @property
    def version(self) -> int:
        """The version that it will have."""
        return self.base.version + len(self.news)

    @property
    def state(self) -> CartState:
        """The cart as it will be, folded only where another command of the round asks."""
        if not self.news:
            return self.base
        if self._state is None:
            self._fold = self._fold or CartFold(self.base)
            for envelope in self.news[self._folded :]:
                self._fold.apply(envelope)
            self._folded = len(self.news)
            self._state = self._fold.state()
        return self._state

    def move(self, append: Append) -> None:
        """Take in what will be written."""
        self.news += append.envelopes
        self._state = None

    def history(self, store: Store) -> list[Envelope]:
        """Every event of the cart, the unwritten ones included."""
        return [*store.read(self.base.cart_id, version=self.base.version), *self.news]


_UNANSWERED = CartError("the cart was changed by others at each try")


def _raised(outcome: Answer | CartError) -> Answer:
    if isinstance(outcome, CartError):
        raise outcome
    return outcome


def _check_owner(state: CartState, who: Who) -> None:
    if state.version and not who.any_cart and state.user_id != who.user_id:
        raise _unknown(state)


def _check_reader(state: CartState, who: Who) -> None:
    if not state.version or not (who.any_cart or who.may_read or state.user_id == who.user_id):
        raise _unknown(state)


def _unknown(state: CartState) -> Refused:
    return Refused("unknown_cart", f"there is no cart {state.cart_id}, or it is somebody else's")


def _check_version(state: CartState, expected: int | None) -> None:
    if expected is not None and state.version != expected:
        raise Refused(
            "stale_version",
            f"cart {state.cart_id} is at version {state.version}, not at {expected}: read it again",
            version=state.version,
        )


def _writer(state: CartState, who: Who) -> str:
    """Whose event it is: the cart's user's, whoever acts for them."""
    return state.user_id or who.user_id


def _notes(decision: Decision, ask: Ask | MergeAsk | None = None) -> list[Mapping[str, str]]:
    """The metadata of a decision's events: one command id for all, and the idempotency key on the last."""
    command_id = str(uuid4())
    notes = [{**each, "command_id": command_id} for each in decision.metadata]
    if notes and ask is not None and ask.key is not None:
        notes[-1] |= {KEY_NOTE: key_mark(ask.key), REQUEST_NOTE: request_mark(ask)}
    return list(notes)


def _envelopes(
    state: CartState, decision: Decision, notes: Sequence[Mapping[str, str]], user_id: str, now: datetime
) -> list[Envelope]:
    return [
        Envelope(str(uuid4()), state.cart_id, user_id, now, state.version + place, event, metadata)
        for place, (event, metadata) in enumerate(zip(decision, notes, strict=True), 1)
    ]
