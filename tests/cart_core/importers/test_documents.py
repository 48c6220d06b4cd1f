from __future__ import annotations

import json

import pytest

from cart_core.ingest import import_files
from cart_core.store import MemoryStore


class Shop:
    """A store in memory, its folder, and imports of documents into it."""

    def __init__(self, folder):
        self.folder = folder
        self.store = MemoryStore()

    def take(self, source, *documents, **options):
        """Import documents, one a line; every row is accounted for."""
        path = self.folder / "rows.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in documents))
        report = import_files(self.store, source, [path], folder=self.folder / "shop", **options).to_json()
        told = report["event_rows"] + report["already_known"] + report["views"] + sum(report["set_aside"].values())
        assert report["rows"] == told
        return report

    def carts(self, *users):
        """The events of every cart of some users, in short."""
        found = [cart for user in users for cart in self.store.carts_of(user)]
        return [[tuple(each.event.to_json().values()) for each in self.store.read(cart)] for cart in found]


@pytest.fixture
def shop(tmp_path):
    """A new shop."""
    return Shop(tmp_path)


def segment(number, event, user=None, **properties):
    """A track call, ``number`` seconds after the year began."""
    return {
        "type": "track",
        "event": event,
        "messageId": f"m{number}",
        "anonymousId": "a1",
        "userId": user,
        "timestamp": f"2026-01-01T00:00:{number:02}.000Z",
        "properties": {"currency": "EUR"} | properties,
    }


PENCIL = {"product_id": "p", "name": "Pencil", "price": 2.9}
VISIT = (
    segment(0, "Product Viewed", product_id="p"),
    segment(1, "Product Added", quantity=2, **PENCIL),
    segment(2, "Product Removed", product_id="p", quantity=1),
    segment(3, "Coupon Applied", coupon_id="TEN", discount=0.29),
    segment(4, "Checkout Started", order_id="o1"),
    segment(5, "Coupon Removed", coupon_id="TEN"),
    segment(6, "Order Completed", order_id="o1", total=2.9),
    segment(7, "Product Added", **PENCIL),
)


def test_segment_calls_become_a_cart_and_the_next_one(shop):
    """Each call of the e-commerce spec has its event; what follows an order is a new cart."""
    report = shop.take("segment", *VISIT)
    assert (report["views"], report["event_rows"], report["carts"], report["set_aside"]) == (1, 7, 2, {})
    assert sorted(shop.carts("a1"), key=len) == [
        [("ItemAdded", "p", "Pencil", 1, 290, "EUR")],
        [
            ("ItemAdded", "p", "Pencil", 2, 290, "EUR"),
            ("QuantityChanged", "p", 2, 1),
            ("CouponApplied", "TEN", "fixed", 29),
            ("CheckoutStarted",),
            ("CouponRemoved", "TEN", "shopper"),
            ("CheckoutCompleted", "o1", 290),
        ],
    ]
    assert shop.take("segment", *VISIT)["already_known"] == 8


def test_a_segment_call_that_is_retried_is_the_same_call(shop):
    """A messageId is one call, though it was received twice with other times of receipt."""
    call = segment(1, "Product Added", **PENCIL)
    assert shop.take("segment", call, call | {"receivedAt": "2026-01-02T00:00:00Z"})["set_aside"] == {"duplicate": 1}


def test_one_segment_user_can_be_one_cart_over_devices(shop):
    """With the user as key, two anonymous ids share a cart."""
    calls = [
        segment(1, "Product Added", "u1", **PENCIL),
        segment(2, "Product Added", "u1", **PENCIL) | {"anonymousId": "a2"},
    ]
    assert shop.take("segment", *calls, cart_key="user")["carts"] == 1


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        pytest.param(segment(1, "Signed Up"), "no_cart_event", id="another event"),
        pytest.param(segment(1, "Product Added", **PENCIL) | {"type": "page"}, "no_cart_event", id="no track call"),
        pytest.param(segment(1, "Product Added", **PENCIL | {"price": 0}), "bad_price", id="price 0"),
        pytest.param(segment(1, "Product Added", **PENCIL | {"quantity": 1.5}), "bad_quantity", id="quantity 1.5"),
        pytest.param(segment(1, "Product Added", name="x", price=1), "missing_field", id="no product"),
        pytest.param(segment(1, "Product Added", **PENCIL | {"currency": "E"}), "bad_currency", id="currency"),
        pytest.param(segment(1, "Product Added", **PENCIL) | {"timestamp": "now"}, "bad_time", id="time"),
        pytest.param(segment(1, "Product Added", **PENCIL) | {"messageId": None}, "missing_field", id="no id"),
        pytest.param(segment(1, "Product Removed", product_id="p"), "remove_without_add", id="remove"),
        pytest.param(segment(1, "Coupon Removed", coupon_id="p"), "coupon_not_applied", id="coupon"),
        pytest.param(segment(1, "Checkout Started"), "checkout_without_add", id="checkout"),
        pytest.param(segment(1, "Order Completed", order_id="o", total=1), "purchase_without_add", id="order"),
        pytest.param(segment(1, "Order Completed", order_id="o"), "missing_field", id="no total"),
        pytest.param([1], "not_json", id="a list"),
    ],
)
def test_a_call_that_makes_no_event_is_set_aside_by_name(shop, call, reason):
    """Nothing a call lacks is made up."""
    assert shop.take("segment", call)["set_aside"] == {reason: 1}


@pytest.mark.parametrize("price", [2.9, 3.1], ids=["same number", "another number"])
def test_units_in_another_currency_are_no_more_of_the_same(shop, price):
    """A product that is in the cart for euros cannot be added for dollars, though the number be the same."""
    calls = [segment(1, "Product Added", **PENCIL), segment(2, "Product Added", **PENCIL | {"price": price})]
    calls[1]["properties"]["currency"] = "USD"
    assert shop.take("segment", *calls)["set_aside"] == {"other_currency": 1}
    assert shop.carts("a1") == [[("ItemAdded", "p", "Pencil", 1, 290, "EUR")]]


def test_more_units_than_a_line_can_hold_are_set_aside(shop):
    """Quantities that would add up beyond 32 bits leave the cart as it was."""
    calls = [segment(second, "Product Added", **PENCIL, quantity=2**31 - 1) for second in (1, 2)]
    assert shop.take("segment", *calls)["set_aside"] == {"too_many": 1}
    assert shop.carts("a1") == [[("ItemAdded", "p", "Pencil", 2**31 - 1, 290, "EUR")]]


def test_an_emptied_cart_and_an_order_from_it_are_told_as_they_were(shop):
    """A state without lines takes out all; an order without a state of its cart before it is set aside by name."""
    report = shop.take("shopify", state(0, line(1), line(2)), state(1), order(2, total="0.00"))
    assert report["set_aside"] == {}
    assert shop.carts("guest-c1")[0][2:] == [("ItemRemoved", "1"), ("ItemRemoved", "2"), ("CheckoutCompleted", "1", 0)]


@pytest.mark.parametrize("total", ["-2.90", "1e99", None], ids=["refund", "too much", "none"])
def test_an_order_that_charges_no_amount_is_set_aside(shop, total):
    """A refund written as an order, an amount beyond 64 bits and no amount complete no cart."""
    report = shop.take("shopify", state(0, line(1)), order(1, total=total))
    assert list(report["set_aside"]) == ["missing_field" if total is None else "bad_price"]
    assert len(shop.carts("guest-c1")[0]) == 1


def ga4(second, name, *items, session=7, **parameters):
    """An exported event, ``second`` seconds after the year began."""
    told = [{"key": "ga_session_id", "value": {"int_value": str(session)}}]
    told += [{"key": key, "value": {"string_value": value}} for key, value in parameters.items()]
    return {
        "event_name": name,
        "event_timestamp": str(1_767_225_600_000_000 + second * 1_000_000),
        "event_params": told,
        "user_pseudo_id": "1.2",
        "user_id": None,
        "items": list(items),
    }


def item(product, price=2.9, quantity="1"):
    """A product in an event."""
    return {"item_id": product, "item_name": product.upper(), "price": price, "quantity": quantity}


def test_ga4_events_become_a_cart(shop):
    """Several items of one event are several events; the purchase carries its revenue."""
    bought = ga4(3, "purchase", transaction_id="t1") | {"ecommerce": {"purchase_revenue": 6.29}}
    visit = [
        ga4(0, "view_item", item("p")),
        ga4(1, "add_to_cart", item("p"), item("q", 0.5, 2), currency="EUR"),
        ga4(2, "remove_from_cart", item("q", 0.5)),
        ga4(2, "begin_checkout", item("p")),
        bought,
        ga4(4, "page_view"),
    ]
    report = shop.take("ga4", *visit)
    assert (report["views"], report["event_rows"], report["events"]) == (1, 4, 5)
    assert report["set_aside"] == {"no_cart_event": 1}
    assert shop.carts("1.2") == [
        [
            ("ItemAdded", "p", "P", 1, 290, "EUR"),
            ("ItemAdded", "q", "Q", 2, 50, "EUR"),
            ("QuantityChanged", "q", 2, 1),
            ("CheckoutStarted",),
            ("CheckoutCompleted", "t1", 629),
        ]
    ]
    assert shop.take("ga4", *visit)["events"] == 0


def test_ga4_sessions_are_carts_of_their_own_unless_the_user_is_the_key(shop, tmp_path_factory):
    """The same visitor in two sessions has two carts, or one."""
    visits = [ga4(1, "add_to_cart", item("p"), session=7), ga4(2, "add_to_cart", item("p"), session=8)]
    assert shop.take("ga4", *visits)["carts"] == 2
    assert Shop(tmp_path_factory.mktemp("user")).take("ga4", *visits, cart_key="user")["carts"] == 1


def state(second, *lines, topic="carts/update", **body):
    """A webhook of a whole cart, ``second`` seconds after the year began."""
    told = {"token": "c1", "cart_token": "c1", "updated_at": f"2026-01-01T02:00:{second:02}+02:00"}
    return {"topic": topic, "payload": told | {"line_items": list(lines)} | body}


def line(product, quantity=1, price="2.90"):
    """A line of a cart."""
    return {"variant_id": product, "title": f"No. {product}", "quantity": quantity, "price": price}


def order(second, number=1, total="2.90"):
    """An order."""
    told = {"id": number, "cart_token": "c1", "created_at": f"2026-01-01T00:00:{second:02}Z", "total_price": total}
    return {"topic": "orders/create", "payload": told}


def test_shopify_states_become_what_changed_between_them(shop):
    """Added, changed, repriced and removed lines, coupons and the order follow from whole carts."""
    codes = [
        {"code": "TEN", "amount": "0.29", "type": "percentage"},
        {"code": "POST", "amount": "5.00", "type": "shipping"},
    ]
    report = shop.take(
        "shopify",
        state(0, line(1), line(2, 2)),
        state(1, line(1, 3), line(2, 2, "3.10")),
        state(2, line(1, 3)),
        state(3, line(1, 3), topic="checkouts/create", discount_codes=codes),
        order(4, total="8.41"),
    )
    assert (report["event_rows"], report["set_aside"]) == (5, {})
    assert shop.carts("guest-c1") == [
        [
            ("ItemAdded", "1", "No. 1", 1, 290, "USD"),
            ("ItemAdded", "2", "No. 2", 2, 290, "USD"),
            ("QuantityChanged", "1", 1, 3),
            ("PriceUpdated", "2", 290, 310, "inferred"),
            ("ItemRemoved", "2"),
            ("CouponApplied", "TEN", "fixed", 29),
            ("CheckoutStarted",),
            ("CheckoutCompleted", "1", 841),
        ]
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        pytest.param([state(0, line(1)), state(1, line(1))], "no_change", id="same state"),
        pytest.param([state(0, line(1)), order(2), order(3) | {"x": 1}], "order_known", id="order twice"),
        pytest.param([state(0, line(1)), state(1, line(1, "x"))], "bad_quantity", id="quantity"),
        pytest.param([state(0, line(1)), state(1, topic="products/update")], "no_cart_event", id="topic"),
    ],
)
def test_a_webhook_that_changes_nothing_is_set_aside_by_name(shop, rows, reason):
    """A repeated state or order is told from a change."""
    assert shop.take("shopify", *rows)["set_aside"] == {reason: 1}


def test_an_older_state_that_comes_later_undoes_nothing(shop):
    """Webhooks arrive in any order: what is older than the cart's last change is stale."""
    shop.take("shopify", state(5, line(1, 2)))
    assert shop.take("shopify", state(3, line(1, 1)))["set_aside"] == {"stale_snapshot": 1}
    assert shop.carts("guest-c1") == [[("ItemAdded", "1", "No. 1", 2, 290, "USD")]]
