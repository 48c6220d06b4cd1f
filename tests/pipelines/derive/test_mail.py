from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from jinja2 import UndefinedError

from pipelines.derive.mail import Mail, Shop, money, preview
from tests.builders import NOON, cart_id

SHOP = Shop("Fjord & Co", "https://shop.example/cart/", "https://shop.example/stop")
LINE = {
    "product_id": "p1",
    "product_name": "Book",
    "quantity": 2,
    "price_cents": 900,
    "original_price_cents": 1_000,
    "price_change_cents": -100,
    "in_stock": True,
}
CANDIDATE = {
    "cart_id": cart_id(1),
    "stage": "cart",
    "currency": "USD",
    "time_zone": "Asia/Tokyo",
    "lines": [LINE],
    "removed_lines": [],
    "coupons": [],
    "discount_cents": 0,
    "value_cents": 1_800,
}


def mail(**changed: Any) -> Mail:
    """The mail for a candidate of one cheaper book, but for what is changed."""
    return preview(CANDIDATE | changed, SHOP)


def coupon(state: str, kind: str = "percentage", value: float = 12.5) -> dict[str, Any]:
    """A coupon that ends at noon, UTC."""
    return {"code": "TEN", "discount_type": kind, "discount_value": value, "ends_at": NOON, "state": state}


def test_the_mail_tells_the_cart() -> None:
    """Text and HTML name the product, its price now, what it is cheaper by, the total and the way back."""
    written = mail()
    assert "- 2 x Book, 9.00 USD each (now 1.00 USD less than when you added it)" in written.text
    assert "Total: 18.00 USD" in written.text
    for body in (written.text, written.html):
        assert f"https://shop.example/cart/{cart_id(1)}" in body
        assert "https://shop.example/stop" in body
    assert "<strong>1.00 USD less</strong>" in written.html


def test_a_dearer_product_shows_its_old_price() -> None:
    """A price rise is told, not hidden."""
    dearer = LINE | {"price_cents": 1_200, "price_change_cents": 200}
    written = mail(lines=[dearer])
    assert "12.00 USD each (was 10.00 USD when you added it)" in written.text
    assert "<s>10.00 USD</s>" in written.html


def test_html_escapes_what_others_wrote() -> None:
    """A product name with markup is text in HTML, and itself in plain text."""
    written = mail(lines=[LINE | {"product_name": "<script>x</script>"}])
    assert "<script>" not in written.html
    assert "&lt;script&gt;" in written.html
    assert "Fjord &amp; Co" in written.html
    assert "<script>x</script>" in written.text


def test_the_subject_is_one_line_by_stage() -> None:
    """The subject says cart or checkout, and a line break in a name does not break the header."""
    assert mail().subject == "Fjord & Co: your cart is waiting"
    assert mail(stage="checkout").subject == "Fjord & Co: your order is almost complete"
    odd = preview(CANDIDATE, Shop("Fjord\r\nBcc: x", "https://shop.example/", "https://shop.example/"))
    assert odd.subject == "Fjord Bcc: x: your cart is waiting"


def test_a_coupon_that_ends_soon_says_when_on_the_shoppers_clock() -> None:
    """An expiring coupon has its end, an active one not, an expired one is not mentioned."""
    expiring = mail(coupons=[coupon("expiring")]).text
    assert "TEN (12.5 % off) is on the cart and ends on 01 January 2026, 21:00." in expiring
    assert "TEN (3.00 USD off) is on the cart." in mail(coupons=[coupon("active", "fixed", 300)]).text
    assert "TEN" not in mail(coupons=[coupon("expired")]).text


def test_removed_products_and_missing_stock_are_told() -> None:
    """What was taken out is named, and so is what cannot be sold at the moment."""
    removed = [{"product_name": "Pen", "removed_at": NOON - timedelta(hours=1)}]
    written = mail(removed_lines=removed, lines=[LINE | {"in_stock": False}])
    assert "You also looked at: Pen" in written.text
    assert "out of stock" in written.text
    assert "out of stock" in written.html


def test_no_sum_is_told_where_there_is_none() -> None:
    """Without a value the mail has no total."""
    assert "Total" not in mail(value_cents=None, currency=None).text


def test_a_row_that_lacks_a_column_is_refused() -> None:
    """A candidate without its lines is a mistake of the caller, not an empty mail."""
    without = {name: value for name, value in CANDIDATE.items() if name != "lines"}
    with pytest.raises(UndefinedError, match="lines"):
        preview(without, SHOP)


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [(123_456, "USD", "1,234.56 USD"), (5, "eur", "0.05 EUR"), (1_500, "JPY", "1,500 JPY"), (250, None, "2.50")],
)
def test_money_is_shown_in_its_minor_unit(cents: int, currency: str | None, text: str) -> None:
    """Cents have two decimals, yen none."""
    assert money(cents, currency) == text
