"""The mail that a candidate would get, as it would look: subject, text and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipelines.derive.mail_templates import HTML, SUBJECT, TEXT
from pipelines.derive.recovery_policy import known_zone

WITHOUT_CENTS = frozenset(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"))
"""Currencies whose minor unit is the whole one; all others are shown with two decimals."""


@dataclass(frozen=True, slots=True)
class Shop:
    """Who writes: the shop's name, where a cart is opened (the cart id is appended), where mails are ended."""

    name: str
    cart_url: str
    unsubscribe_url: str


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail: subject and text are plain, HTML has every value escaped."""

    subject: str
    text: str
    html: str


def preview(candidate: Mapping[str, Any], shop: Shop) -> Mail:
    """The mail for one row of recovery_candidates, as a dict such as ``iter_rows(named=True)`` gives.

    Times are shown on the shopper's clock. What it names are the row's lines, prices then and now, coupons that have
    not ended, and products taken out. Raises KeyError where the row lacks a column of the table.
    """
    currency, zone = candidate["currency"], known_zone(candidate["time_zone"])
    filters = {
        "money": lambda cents: money(cents, currency),
        "discount": lambda coupon: _discount(coupon, currency),
        "clock": lambda moment: moment.astimezone(zone or UTC).strftime("%d %B %Y, %H:%M"),
    }
    plain, marked_up = (_rendered(escaped, filters) for escaped in (False, True))
    values = {**candidate, "shop": shop}
    return Mail(
        subject=" ".join(plain.from_string(SUBJECT).render(values).split()),
        text=plain.from_string(TEXT).render(values),
        html=marked_up.from_string(HTML).render(values),
    )


def money(cents: int, currency: str | None) -> str:
    """An amount as text, such as 12.50 USD; without a currency where it is not known."""
    whole = (currency or "").upper() in WITHOUT_CENTS
    amount = f"{cents:,}" if whole else f"{cents // 100:,}.{cents % 100:02d}"
    return f"{amount} {currency.upper()}" if currency else amount


def _discount(coupon: Mapping[str, Any], currency: str | None) -> str:
    value = coupon["discount_value"]
    return f"{value:g} % off" if coupon["discount_type"] == "percentage" else f"{money(int(value), currency)} off"


@cache
def _environment(*, escaped: bool) -> Environment:
    return Environment(autoescape=escaped, undefined=StrictUndefined)  # noqa: S701 - subject and text are plain


def _rendered(escaped: bool, filters: Mapping[str, Any]) -> Environment:  # noqa: FBT001 - private
    environment = _environment(escaped=escaped).overlay()
    environment.filters = {**environment.filters, **filters}
    return environment
