"""The shop's catalogue of prices: what a product costs from which moment on."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cart_core import rules
from cart_core.commands import AddItem
from cart_core.errors import InvalidEvent, Problem, Refused, SourceError, shown

COLUMNS = ("product_id", "price_cents", "currency", "valid_from")
OPTIONAL = ("valid_from", "reason")


@dataclass(frozen=True, slots=True)
class Price:
    """What a product costs, in minor units, from a moment on; ``valid_from`` None means since ever.

    Raises InvalidEvent where a field breaks its rule.
    """

    product_id: str
    price_cents: int
    currency: str
    valid_from: datetime | None = None
    reason: str = "catalogue"

    def __post_init__(self) -> None:
        problems = [
            Problem(name, value, rule.wording)
            for name, value, rule in (
                ("productId", self.product_id, rules.NAME),
                ("priceCents", self.price_cents, rules.CENTS),
                ("currency", self.currency, rules.CURRENCY),
                ("validFrom", self.valid_from or rules.EPOCH, rules.Moment()),
                ("reason", self.reason, rules.FREE_TEXT),
            )
            if not rule.allows(value)
        ]
        if problems:
            raise InvalidEvent(problems)


class PriceCatalogue:
    """Prices by product and moment; a catalogue that came from a file is read again when the file changes."""

    def __init__(self, prices: Iterable[Price], path: Path | None = None) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._prices = _by_product(prices)

    @classmethod
    def read(cls, path: Path) -> PriceCatalogue:
        """The catalogue in a Parquet or CSV file, as ``read_prices`` reads it."""
        return cls(read_prices(path), path)

    def price_at(self, product_id: str, moment: datetime) -> Price | None:
        """The price of a product at a moment; None where the catalogue has none yet."""
        if self._path is not None and (stamp := _stamp(self._path)) != self._stamp:
            self._prices, self._stamp = _by_product(read_prices(self._path)), stamp
        known = self._prices.get(product_id, ())
        place = bisect.bisect_right(known, moment, key=_since)
        return known[place - 1] if place else None

    def check(self, item: AddItem, moment: datetime) -> None:
        """Raise Refused where the price of a well-formed offer is not the catalogue's at that moment."""
        price = self.price_at(item.product_id, moment)
        if price is None:
            raise Refused("not_in_catalogue", f"the catalogue has no price for product {shown(item.product_id)}")
        if (item.price_cents, item.currency.upper()) != (price.price_cents, price.currency):
            raise Refused(
                "price_mismatch",
                f"{shown(item.product_id)} costs {price.price_cents} {price.currency}, "
                f"not {item.price_cents} {item.currency}",
                offeredCents=item.price_cents,
                catalogueCents=price.price_cents,
                currency=price.currency,
            )


def read_prices(path: Path) -> list[Price]:
    """The prices in a Parquet or CSV file: product_id, price_cents, currency, and where it likes valid_from and reason.

    Raises SourceError where the file cannot be read, a column is missing, or a row breaks a rule (the row is named).
    """
    import polars as pl  # noqa: PLC0415 - most services have no catalogue and start without it

    try:
        frame = pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{path} cannot be read as a table of prices: {error}") from error
    missing = [name for name in COLUMNS if name not in frame.columns and name not in OPTIONAL]
    if missing:
        raise SourceError(f"{path} has no column {', '.join(missing)}; a table of prices has {', '.join(COLUMNS)}")
    return [_price(path, number, row) for number, row in enumerate(frame.iter_rows(named=True))]


def _price(path: Path, number: int, row: dict[str, Any]) -> Price:
    price_cents, valid_from, currency = row["price_cents"], row.get("valid_from"), row["currency"]
    try:
        price_cents = int(price_cents) if isinstance(price_cents, str) else price_cents
        valid_from = rules.parse_time(valid_from) if isinstance(valid_from, str) else valid_from
        currency = currency.upper() if isinstance(currency, str) else currency
        return Price(row["product_id"], price_cents, currency, valid_from, row.get("reason") or "catalogue")
    except ValueError as error:
        raise SourceError(f"{path}, row {number}: {error}") from error


def _by_product(prices: Iterable[Price]) -> dict[str, Sequence[Price]]:
    found: dict[str, list[Price]] = {}
    for price in prices:
        found.setdefault(price.product_id, []).append(price)
    return {product: sorted(known, key=_since) for product, known in found.items()}


def _since(price: Price) -> datetime:
    return price.valid_from or _EVER


_EVER = datetime.min.replace(tzinfo=rules.EPOCH.tzinfo)


def _stamp(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size
