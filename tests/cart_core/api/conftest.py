"""Clients of an application over a store in memory: one behind tokens, one open as on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from cart_core.api import Settings, Trust, create_app
from cart_core.store import MemoryStore
from tests.cart_core.api.running import running

SECRET = "a secret of tests that is long enough for every HMAC there is, HS512 too"
TRUST = Trust("https://id.shop.example", "carts", "HS256", SECRET)
Token = Callable[..., str]


@pytest.fixture
def store(clock: Any) -> MemoryStore:
    """An empty store in memory."""
    return MemoryStore(clock)


@pytest.fixture
def token(clock: Any) -> Token:
    """Makes tokens: ``token("ann", scope="service", exp=...)``; None leaves a claim out."""

    def make(user: str = "ann", *, key: Any = SECRET, algorithm: str | None = "HS256", **claims: Any) -> str:
        now: datetime = clock.now
        told = {"sub": user, "iss": TRUST.issuer, "aud": TRUST.audience, "exp": now + timedelta(hours=1), **claims}
        known = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(known, key, algorithm, headers={"kid": "k1"} if algorithm not in ("HS256", None) else None)

    return make


@pytest.fixture
def as_user(token: Token) -> Callable[..., dict[str, str]]:
    """Makes the headers of a user: ``as_user("ann")``."""
    return lambda user="ann", **claims: {"Authorization": f"Bearer {token(user, **claims)}"}


@pytest.fixture
def client(store: MemoryStore, as_user: Callable[..., dict[str, str]]) -> Iterator[httpx.Client]:
    """A client of a server that wants tokens, as the user ``ann``."""
    app = create_app(Settings(Path("unused"), trust=TRUST), store)
    with running(app, headers=as_user("ann")) as client:
        yield client


@pytest.fixture
def open_client(store: MemoryStore) -> Iterator[httpx.Client]:
    """A client of a server without tokens, on loopback."""
    app = create_app(Settings(Path("unused")), store)
    with running(app) as client:
        yield client


@pytest.fixture
def cart() -> str:
    """The path of a cart that does not exist yet."""
    return f"/v1/cart/{uuid4()}"
