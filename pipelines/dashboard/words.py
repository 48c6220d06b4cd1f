"""How figures are written: counts, shares, money, spans and moments, the same on every page."""

from __future__ import annotations

from datetime import date, datetime

from cart_core.importers.money import exponent

NOTHING, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
SMALL_SHARE = 0.001
LARGE_CENTS = 100_000
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAY_NUMBERS = frozenset("1234567")


def count(value: float | None) -> str:
    """A number of things: 12,345."""
    return NOTHING if value is None else f"{value:,.0f}"


def share(value: float | None, digits: int = 1) -> str:
    """A ratio as percent: 12.3 %; what is not nothing is never written as 0.0 %."""
    if value is None:
        return NOTHING
    if 0 < value < SMALL_SHARE and digits == 1:
        return "< 0.1 %"
    return f"{value * 100:.{digits}f} %"


def change(value: float | None) -> str:
    """A relative change with its sign: +3.1 %."""
    return NOTHING if value is None else f"{value * 100:+.1f} %".replace("-", MINUS)


def money(cents: float | None, currency: str | None = None, digits: int | None = None) -> str:
    """Minor units as people read them: 1,234.50 USD, 2,900 JPY."""
    if cents is None:
        return NOTHING
    sign = MINUS if cents < 0 else ""
    shown = places(currency) if digits is None else digits
    return f"{sign}{abs(cents) / 10 ** places(currency):,.{shown}f} {currency or ''}".rstrip()


def places(currency: str | None) -> int:
    """How many decimals an amount in a currency has; two where no currency is named."""
    return 2 if currency is None else exponent(currency)


def large_money(cents: float | None, currency: str | None = None) -> str:
    """A sum for a headline: from 1,000 on without the minor units, 43,123 USD."""
    return money(cents, currency, 0 if cents is not None and abs(cents) >= LARGE_CENTS else None)


def span(seconds: float | None) -> str:
    """A span of time in its two largest units: 2 d 4 h."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    for size, name, below, small in ((DAY_S, "d", HOUR_S, "h"), (HOUR_S, "h", MINUTE_S, "min")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole // MINUTE_S} min"


def moment(value: datetime | None) -> str:
    """A moment to the minute, with its zone: 31 Jan 2026, 09:30 UTC."""
    return NOTHING if value is None else f"{day(value)}, {value:%H:%M %Z}".rstrip()


def clock(value: datetime) -> str:
    """A moment where its zone stands elsewhere: 09:30, 31 Jan 2026."""
    return f"{value:%H:%M}, {day(value)}"


def day(value: date) -> str:
    """A day: 31 Jan 2026."""
    return f"{value.day} {value:%b %Y}"


def words(name: str) -> str:
    """A name from a table as words: add_to_cart is Add to cart."""
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def group(breakdown: str, value: str) -> str:
    """A group of a breakdown: weekdays by name, others as they are."""
    return WEEKDAYS[int(value) - 1] if breakdown.lower() == "weekday" and value in WEEKDAY_NUMBERS else value


def short_id(identity: str, length: int = 8) -> str:
    """The first characters of a long id, enough to recognise it."""
    return identity if len(identity) <= length + 1 else identity[:length] + "…"
