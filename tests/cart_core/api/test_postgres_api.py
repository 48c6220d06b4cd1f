"""The same API over a store whose catalog is in PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from cart_core.api import Settings, create_app
from cart_core.store import CartStore
from tests import postgres
from tests.cart_core.api.serving import serving
from tests.cart_core.api.test_carts import SOAP, problem


@pytest.mark.postgres
def test_a_cart_from_the_first_add_to_the_proof(tmp_path: Path) -> None:
    """Many callers at once, a retry, undo, redo, a price change, checkout, evidence; the same after a restart."""
    address, segments = postgres.server().fresh(), str(tmp_path / "segments")
    cart = f"/v1/cart/{uuid4()}"
    with (
        CartStore.open(catalog=address, segments=segments) as store,
        serving(create_app(Settings(tmp_path), store)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        with ThreadPoolExecutor(8) as pool:
            bodies = [{**SOAP, "productId": f"p{number}"} for number in range(16)]
            answers = list(pool.map(lambda body: client.post(f"{cart}/add", json=body).json(), bodies))
        assert sorted(each["version"] for each in answers) == list(range(1, 17))
        key = {"Idempotency-Key": "k"}
        assert client.post(f"{cart}/add", json=SOAP, headers=key).json() == {"version": 17}
        assert client.post(f"{cart}/undo").json() == {"undone": "ItemAdded", "version": 18}
        assert client.post(f"{cart}/redo").json() == {"redone": "ItemAdded", "version": 19}
        price = {"productId": "soap", "priceCents": 3900, "currency": "USD", "reason": "supplier"}
        assert client.post("/v1/prices", json=price).json() == {"carts": 1}
        assert client.post(f"{cart}/checkout/start").json() == {"version": 21}
        store.seal()
        assert all(each["proof"] for each in client.get(f"{cart}/evidence/soap").json()["events"])
        before = client.get(cart).json()
    with (
        CartStore.open(catalog=address, segments=segments) as store,
        serving(create_app(Settings(tmp_path), store)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        assert client.get(cart).json() == before
        assert client.post(f"{cart}/add", json=SOAP, headers=key).json() == {"version": 17}
        assert problem(client.post(f"{cart}/add", json={**SOAP, "quantity": 2}, headers=key))[0] == 422
        assert [each["cartId"] for each in client.get("/v1/carts").json()["carts"]] == [before["cartId"]]
