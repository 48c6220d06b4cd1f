"""Carts and their lives show themselves in notebooks, whatever products, users and coupons are called."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.display import slider, timeline
from cart_core.errors import OutOfOrder, Refused
from cart_core.events import CheckoutCompleted, CheckoutStarted, CouponApplied, Envelope, ItemAdded
from cart_core.projector import CartState, fold
from tests import strategies
from tests.builders import cart_id, history

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;\u202e"
ALLOWED = {"b", "div", "p", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """What a browser would make of HTML: its tags, the names of attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """Note some text."""
        self.text += data


def added(name: str, product: str = "mug", quantity: int = 2) -> ItemAdded:
    """Some pieces of a product at 29.00."""
    return ItemAdded(product, name, quantity=quantity, price_per_unit_cents=2900, currency="USD")


def test_a_cart_shows_its_lines_and_totals():
    """Product, quantity, both prices, coupon and totals can be read."""
    page = Page(fold(history(added("Mug"), CouponApplied("TEN", "percentage", 10)))._repr_html_())
    for told in (
        "Mug (mug)",
        "29.00 USD",
        "coupon TEN: 10 %",
        "subtotal 58.00 USD, discount 5.80 USD, total 52.20 USD",
    ):
        assert told in page.text


def test_a_charged_total_is_shown():
    """What was charged stands beside the projected total."""
    cart = fold(history(added("Mug"), CheckoutStarted(), CheckoutCompleted("o1", 6000)))
    assert "total 58.00 USD, charged 60.00 USD" in Page(cart._repr_html_()).text


def test_an_empty_cart_shows_itself():
    """A cart without events has no lines and belongs to nobody."""
    page = Page(CartState.empty("c0ffee00-0000-4000-8000-000000000001")._repr_html_())
    assert "of nobody: active, version 0" in page.text
    assert "no lines" in page.text


def test_hostile_names_stay_text():
    """Tags in names of products, users and coupons are shown and never run."""
    life = history(added(HOSTILE, HOSTILE), CouponApplied(HOSTILE, "fixed", 100), user=HOSTILE)
    for html in (fold(life)._repr_html_(), timeline(life)._repr_html_(), slider(life).children[1].value):
        page = Page(html)
        assert page.tags <= ALLOWED
        assert page.attributes <= {"style", "scope"}
        assert HOSTILE in page.text


@given(strategies.histories())
def test_every_history_shows_itself(life: list[Envelope]):
    """Whatever happened, the page is made of a few plain tags, and has one row for each event."""
    shown = timeline(life)
    page = Page(shown._repr_html_())
    assert page.tags <= ALLOWED
    assert len(shown.rows()) == len(life)
    assert Page(fold(life)._repr_html_()).tags <= ALLOWED


@given(strategies.histories(), st.randoms())
def test_a_timeline_is_the_fold_step_by_step(life: list[Envelope], chance):
    """In whatever order events are given, each stands with the cart as it was after it."""
    mixed = list(life)
    chance.shuffle(mixed)
    ordered = sorted(life, key=lambda each: each.version)
    assert timeline(mixed).states == tuple(fold(ordered[:count]) for count in range(1, len(ordered) + 1))


def test_what_is_shown_takes_the_colours_of_the_page():
    """No colour of text or background is set, so a dark page stays legible."""
    html = fold(history(added("Mug")))._repr_html_() + timeline(history(added("Mug")))._repr_html_()
    assert re.search(r"(?<![-\w])(color|background)[-\w]*:", html) is None


def test_the_slider_moves_through_the_cart():
    """It stands on the last event, and shows the cart as it was at the one that is chosen."""
    box = slider(history(added("Mug"), added("Tea", "tea", 1)))
    chosen, shown = box.children
    assert "total 87.00 USD" in Page(shown.value).text
    chosen.value = 0
    assert "total 58.00 USD" in Page(shown.value).text


def test_a_slider_over_nothing_is_refused():
    """A cart without events has no life to slide over."""
    with pytest.raises(Refused, match="there is no event to slide over"):
        slider([])


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    """Without ipywidgets the error says what to install."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(Refused, match=r"pip install 'cart-workbench\[notebooks\]'"):
        slider(history(added("Mug")))


def test_events_of_two_carts_have_no_timeline():
    """A life is one cart's."""
    mug, other = history(added("Mug")), history(added("Mug"), added("Tea", "tea"), cart=cart_id(7))
    with pytest.raises(OutOfOrder):
        timeline([mug[0], other[1]])
