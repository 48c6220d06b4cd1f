from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import polars as pl

from cart_core.events import Envelope, ItemAdded
from cart_core.schema import to_table
from pipelines.derive.campaign import recipients, to_csv, to_json
from pipelines.derive.recovery import Inputs, Policy, candidates
from pipelines.tables import INPUTS
from tests.builders import NOON, cart_id, envelope

AS_OF = NOON + timedelta(hours=2)


def people(**consent: bool) -> pl.DataFrame:
    """Contacts by name and consent."""
    rows = [{"user_id": user, "email": f"{user}@mail.example", "consent": yes} for user, yes in consent.items()]
    return pl.DataFrame(rows, schema=INPUTS["contacts"].schema)


def silent(number: int, user: str, name: str = "Book", cents: int = 1_000) -> Envelope:
    """A cart with one product, two hours ago."""
    return envelope(ItemAdded("p1", name, 1, cents, "USD"), cart=cart_id(number), user=user, at=NOON)


def found(*events: Envelope, contacts: pl.DataFrame) -> pl.DataFrame:
    """The candidates of these carts in a campaign without a holdout."""
    return candidates(to_table(events), AS_OF, Inputs(contacts=contacts), Policy(holdout=0))


def rows_of(text: str) -> list[dict[str, Any]]:
    """A CSV with header as dicts."""
    return list(csv.DictReader(io.StringIO(text)))


def test_the_eligible_are_listed_by_rank_with_their_address() -> None:
    """Only the eligible are on the list, the best first."""
    contacts = people(ann=True, bob=True, eve=False)
    events = [silent(1, "ann"), silent(2, "bob", cents=9_000), silent(3, "eve")]
    listed = recipients(found(*events, contacts=contacts), contacts)
    assert listed.select("user_id", "email", "rank").rows() == [
        ("bob", "bob@mail.example", 1),
        ("ann", "ann@mail.example", 2),
    ]


def test_consent_withdrawn_since_counts() -> None:
    """Who has withdrawn consent after the candidates were found is not on the list."""
    rows = found(silent(1, "ann"), contacts=people(ann=True))
    assert recipients(rows, people(ann=False)).height == 0


def test_csv_cells_are_no_formulas() -> None:
    """A user id or product that begins like a formula is quoted, the rest is as it is."""
    user = "=cmd|'/c calc'!A1"
    contacts = people(**{user: True})
    [row] = rows_of(to_csv(recipients(found(silent(1, user, "Book, red"), contacts=contacts), contacts)))
    assert row["user_id"] == f"'{user}"
    assert row["products"] == "1 x Book, red"
    assert (row["cart_id"], row["send_after"]) == (cart_id(1), "2026-01-01T14:00:00Z")


def test_json_holds_the_whole_content() -> None:
    """The JSON list has camelCase names, times as text, and lines with prices then and now."""
    contacts = people(ann=True)
    [row] = json.loads(to_json(recipients(found(silent(1, "ann"), contacts=contacts), contacts)))
    assert (row["cartId"], row["sendAfter"], row["valueCents"]) == (cart_id(1), "2026-01-01T14:00:00Z", 1_000)
    assert row["lines"][0]["originalPriceCents"] == 1_000
    assert row["lines"][0]["addedAt"] == "2026-01-01T12:00:00Z"


def test_an_empty_list_is_a_header_and_an_empty_list() -> None:
    """Without recipients both forms are there, and empty."""
    listed = recipients(found(contacts=people()), people())
    assert rows_of(to_csv(listed)) == []
    assert to_csv(listed).startswith("campaign,cart_id,")
    assert json.loads(to_json(listed)) == []
