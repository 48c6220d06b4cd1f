"""The answers that carts have given under idempotency keys, read from their own events."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from cart_core.errors import Refused
from cart_core.events import Envelope
from cart_core.service.asks import KEY_NOTE, REQUEST_NOTE, Answer
from cart_core.store.base import Store

KEPT_CARTS = 20_000


class Answers:
    """Answers by cart and key, read once and then kept up; they are facts, so a kept one never goes stale."""

    def __init__(self, store: Store, kept_carts: int = KEPT_CARTS) -> None:
        self._store = store
        self._kept_carts = kept_carts
        self._kept: OrderedDict[str, tuple[int, dict[str, Answer]]] = OrderedDict()

    def find(self, cart_id: str, version: int, key: str, request: str) -> Answer | None:
        """The answer that a cart gave under ``key`` by a version. Raises Refused where another request got it."""
        read_to, answers = self._kept.get(cart_id, (0, {}))
        if read_to < version:
            answers.update(by_key(self._store.read(cart_id, after=read_to)))
            self.keep(cart_id, max(read_to, version), answers)
        return same_request(answers.get(key), request)

    def keep(self, cart_id: str, version: int, answers: dict[str, Answer]) -> None:
        """Keep all answers of a cart up to a version; the carts used least recently make room."""
        self._kept[cart_id] = (version, answers)
        self._kept.move_to_end(cart_id)
        while len(self._kept) > self._kept_carts:
            self._kept.popitem(last=False)

    def grow(self, cart_id: str, base: int, envelopes: Iterable[Envelope]) -> None:
        """Take in events that were just written, where the cart's answers are kept up to the version before."""
        read_to, answers = self._kept.get(cart_id, (0, {}))
        if read_to == base:
            news = list(envelopes)
            answers.update(by_key(news))
            self.keep(cart_id, news[-1].version, answers)


def by_key(envelopes: Iterable[Envelope]) -> dict[str, Answer]:
    """The answers that these events stand for, by the mark of their key."""
    return {
        each.metadata[KEY_NOTE]: Answer(each.version, each.metadata) for each in envelopes if KEY_NOTE in each.metadata
    }


def same_request(answer: Answer | None, request: str) -> Answer | None:
    """The answer, if it is to this very request. Raises Refused (idempotency_key_reused) if it is to another."""
    if answer is not None and answer.notes.get(REQUEST_NOTE, request) != request:
        raise Refused(
            "idempotency_key_reused",
            f"this idempotency key made version {answer.version} by another request: use a new key",
        )
    return answer
