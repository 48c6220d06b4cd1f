"""One cart as HTML, for notebooks: legible on light and dark pages, and safe whatever a product is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from cart_core import rules

if TYPE_CHECKING:
    from cart_core.projector.one import CartState, Coupon, Line

FRAME = "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.6em .8em;display:inline-block;max-width:100%"
TABLE = "border-collapse:collapse;margin:.4em 0"
QUIET = "opacity:.7"
RIGHT = "text-align:right;padding:.1em .6em"
LEFT = "text-align:left;padding:.1em .6em"
COLUMNS = ("product", "quantity", "price now", "when added", "added")
NUMBERS = frozenset(("quantity", "price now", "when added", "version", "units", "total"))


def state_html(state: CartState) -> str:
    """A cart as HTML: whose it is and how it stands, its lines, its coupons, its totals; all text is escaped."""
    head = f"<b>cart {escape(state.cart_id)}</b> of {escape(state.user_id or 'nobody')}: {state.status}"
    when = "" if state.last_event_at is None else f", last event {moment(state.last_event_at)}"
    rows = [_line_cells(line) for line in state.lines]
    body = table_html(COLUMNS, rows) if rows else f'<p style="{QUIET}">no lines</p>'
    coupons = "".join(f"<div>{_coupon_text(each)}</div>" for each in state.coupons)
    return (
        f'<div style="{FRAME}"><div>{head}, version {state.version}{when}</div>{body}{coupons}<div>{_sums(state)}</div>'
        "</div>"
    )


def table_html(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as HTML, numbers to the right; every cell is escaped, None is empty."""
    head = "".join(f'<th scope="col" style="{_side(name)};{QUIET}">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{_cells(names, row)}</tr>" for row in rows)
    return f'<table style="{TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def amount(cents: int | None, currency: str | None) -> str:
    """An amount of minor units as people read it, two decimals; a dash where there is none."""
    if cents is None:
        return "-"
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d} {currency or ''}".rstrip()


def moment(at: datetime) -> str:
    """A moment to the second, in UTC."""
    return rules.format_time(at.replace(microsecond=0))


def _cells(names: Sequence[str], row: Sequence[object]) -> str:
    shown = ("" if cell is None else escape(str(cell)) for cell in row)
    return "".join(f'<td style="{_side(name)}">{cell}</td>' for name, cell in zip(names, shown, strict=True))


def _side(name: str) -> str:
    return RIGHT if name in NUMBERS else LEFT


def _line_cells(line: Line) -> tuple[object, ...]:
    return (
        f"{line.product_name} ({line.product_id})",
        line.quantity,
        amount(line.price_cents, line.currency),
        amount(line.original_price_cents, line.currency),
        moment(line.added_at),
    )


def _coupon_text(coupon: Coupon) -> str:
    value = f"{coupon.discount_value:g}"
    worth = f"{value} %" if coupon.discount_type == "percentage" else amount(int(coupon.discount_value), None)
    return f"coupon {escape(coupon.code)}: {escape(worth)}"


def _sums(state: CartState) -> str:
    if state.total_cents is None:
        return "lines in several currencies have no total"
    names = {"subtotal": state.subtotal_cents, "discount": state.discount_cents, "total": state.total_cents}
    told = [f"{name} {escape(amount(cents, state.currency))}" for name, cents in names.items()]
    if state.charged_total_cents is not None:
        told.append(f"charged {escape(amount(state.charged_total_cents, state.currency))}")
    return ", ".join(told)
