"""The compiled shop's records as Arrow tables: events, views, exposures, contacts and true episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core.events import TYPES
from cart_core.schema import EVENTS, UTC_MICROS
from cart_core.simulator.catalog import Catalog, Coupons
from cart_core.simulator.randomness import STEP, mixed
from cart_core.simulator.records import (
    CHECKOUT_COMPLETED,
    COUPON_APPLIED,
    ITEM_ADDED,
    NEVER,
    REASONS,
    Array,
)
from cart_core.simulator.rhythm import ZONES
from cart_core.simulator.shoppers import NUMBERS_OF_VISITORS

VIEWS = pa.schema(
    [
        ("view_id", pa.string()),
        ("product_id", pa.string()),
        ("user_id", pa.string()),
        ("session", pa.string()),
        ("at", UTC_MICROS),
    ]
)
EXPOSURES = pa.schema(
    [("user_id", pa.string()), ("experiment", pa.string()), ("variant", pa.string()), ("exposed_at", UTC_MICROS)]
)
CONTACTS = pa.schema(
    [("user_id", pa.string()), ("email", pa.string()), ("consent", pa.bool_()), ("time_zone", pa.string())]
)
COUPONS = pa.schema(
    [
        ("code", pa.string()),
        ("discount_type", pa.string()),
        ("discount_value", pa.float64()),
        ("ends_at", UTC_MICROS),
    ]
)
EPISODES = pa.schema(
    [
        ("cart_id", pa.string()),
        ("episode_no", pa.int32()),
        ("user_id", pa.string()),
        ("last_activity_at", UTC_MICROS),
        ("abandoned_at", UTC_MICROS),
        ("stage", pa.string()),
        ("line_count", pa.int32()),
        ("unit_count", pa.int64()),
        ("outcome", pa.string()),
        ("resumed_at", UTC_MICROS),
        ("completed_at", UTC_MICROS),
        ("mature", pa.bool_()),
    ]
)
"""True silences; times that never came are null. ``completed_at`` is the cart's, within the window or not."""

DISCOUNT_TYPES = ("fixed", "percentage")
VARIANTS = ("control", "treatment")
STAGES = ("cart", "checkout")
CART_SALT = np.uint64(0xC0FFEE1234567891)
HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
DASHES = (8, 13, 18, 23)
UUID_CHARS = 36


def ids(seed: int, numbers: Array, versions: Array | int) -> Array:
    """A random-looking UUID (version 4) per number and version, as (n, 16) bytes."""
    with np.errstate(over="ignore"):
        key = mixed(mixed(np.uint64(seed) + CART_SALT) ^ (numbers.astype(np.uint64) * STEP))
        high = mixed(key + np.asarray(versions).astype(np.uint64) * STEP)
        low = mixed(high ^ CART_SALT)
    high = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    low = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    words = np.empty((len(numbers), 2), dtype=">u8")
    words[:, 0], words[:, 1] = high, low
    return words.view(np.uint8).reshape(-1, 16)


def uuid_array(raw: Array) -> pa.Array:
    """(n, 16) bytes as an Arrow column of UUIDs."""
    storage = pa.Array.from_buffers(pa.binary(16), len(raw), [None, pa.py_buffer(np.ascontiguousarray(raw))])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def uuid_texts(raw: Array) -> pa.Array:
    """(n, 16) bytes as lower-case text with dashes."""
    digits = HEX[np.stack((raw >> 4, raw & 15), axis=2).reshape(len(raw), 32)]
    text = np.full((len(raw), UUID_CHARS), ord("-"), dtype=np.uint8)
    text[:, [place for place in range(UUID_CHARS) if place not in DASHES]] = digits
    offsets = np.arange(len(raw) + 1, dtype=np.int32) * UUID_CHARS
    return pa.Array.from_buffers(pa.string(), len(raw), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def user_ids(users: Array) -> pa.Array:
    """The id of each user: user-<number>, guest-<number>, or visitor-<number> for guests without a cart."""
    visitor = users["number"] >= NUMBERS_OF_VISITORS
    kind = np.where(visitor, 2, users["guest"])
    number = np.where(visitor, users["number"] - NUMBERS_OF_VISITORS, users["number"])
    return _joined(_word(("user-", "guest-", "visitor-"), kind), _text(number))


def events(seed: int, first_number: int, rows: Array, owners: pa.Array, shop: Catalog, offers: Coupons) -> pa.Table:
    """Events as a table of EVENTS, in the order of the records; ``owners`` is the user id of each cart."""
    numbers = rows["cart"].astype(np.int64) + first_number
    kind = rows["kind"]
    added = kind == ITEM_ADDED
    completed = kind == CHECKOUT_COMPLETED
    applied = np.where(kind == COUPON_APPLIED, rows["coupon"], -1)
    columns: dict[str, Any] = {
        "event_id": uuid_array(ids(seed, numbers, rows["version"])),
        "cart_id": uuid_array(ids(seed, numbers, 0)),
        "version": pa.array(rows["version"]),
        "user_id": owners.take(pa.array(rows["cart"])),
        "timestamp": _moments(rows["at"]),
        "type": _word(TYPES, kind),
        "product_id": _word(shop.ids, rows["product"]),
        "product_name": _word(shop.names, np.where(added, rows["product"], -1)),
        "quantity": _present(rows["quantity"]),
        "old_quantity": _present(rows["old_quantity"]),
        "price_cents": pa.array(rows["cents"], mask=(rows["cents"] < 0) | completed),
        "old_price_cents": _present(rows["old_cents"]),
        "currency": _word(("USD",), np.where(added, 0, -1)),
        "image_url": _word(shop.images, np.where(added, rows["product"], -1)),
        "coupon_code": _word(offers.codes, rows["coupon"]),
        "discount_type": _word(DISCOUNT_TYPES, np.where(applied >= 0, offers.percentage[applied], -1)),
        "discount_value": pa.array(offers.values[applied], mask=applied < 0),
        "reason": _word(REASONS, rows["reason"]),
        "order_id": _orders(numbers, completed),
        "total_cents": pa.array(rows["cents"], mask=~completed),
        "metadata": _commands(numbers, rows["command"]),
    }
    return pa.table(
        [columns[name] if name in columns else pa.nulls(len(rows), EVENTS.field(name).type) for name in EVENTS.names],
        schema=EVENTS,
    )


def views(first_number: int, rows: Array, users: Array, names: pa.Array, shop: Catalog, first_view: int) -> pa.Table:
    """Product views; a session is one visit of one cart, or a visitor's only one."""
    of_cart = rows["cart"] >= 0
    visitor = users["number"][rows["user"]] - NUMBERS_OF_VISITORS
    number = np.where(of_cart, rows["cart"].astype(np.int64) + first_number, visitor)
    session = _joined(_word(("visitor", "cart"), of_cart), _text(number), _text(rows["visit"]), between="-")
    return pa.table(
        [
            _joined("view", _text(np.arange(first_view, first_view + len(rows))), between="-"),
            _word(shop.ids, rows["product"]),
            names.take(pa.array(rows["user"])),
            session,
            _moments(rows["at"]),
        ],
        schema=VIEWS,
    )


def exposures(rows: Array, users: pa.Array, names: Sequence[str]) -> pa.Table:
    """Exposures, first and repeated."""
    columns = [
        users.take(pa.array(rows["user"])),
        _word(names, rows["experiment"]),
        _word(VARIANTS, rows["treated"]),
        _moments(rows["at"]),
    ]
    return pa.table(columns, schema=EXPOSURES)


def contacts(users: Array, names: pa.Array, rng: np.random.Generator, address: float, consent: float) -> pa.Table:
    """One row per registered shopper; some gave no address, some no consent."""
    known = users["guest"] == 0
    names = names.filter(pa.array(known))
    email = _joined(names, "mail.example", between="@")
    without = rng.random(len(names)) >= address
    columns = [
        names,
        pc.if_else(pa.array(without), pa.scalar(None, pa.string()), email),
        pa.array(rng.random(len(names)) < consent),
        _word(list(ZONES), users["zone"][known]),
    ]
    return pa.table(columns, schema=CONTACTS)


def coupon_table(offers: Coupons) -> pa.Table:
    """Every campaign with its size and end."""
    columns = [
        pa.array(offers.codes),
        _word(DISCOUNT_TYPES, offers.percentage),
        pa.array(offers.values),
        _moments(offers.ends_at),
    ]
    return pa.table(columns, schema=COUPONS)


def episodes(seed: int, first_number: int, rows: Array, carts: Array, owners: pa.Array, settings: Any) -> pa.Table:
    """True silences with their outcome as of the end of the period."""
    abandoned_at = rows["last_activity_at"] + settings["idle_us"]
    completed_at = carts["completed_at"][rows["cart"]]
    window_ends_at = abandoned_at + settings["window_us"]
    mature = window_ends_at <= settings["end_us"]
    outcome = np.select(
        [completed_at <= window_ends_at, rows["resumed_at"] <= window_ends_at, ~mature],
        [0, 1, 2],
        3,
    )
    columns = [
        uuid_texts(ids(seed, rows["cart"].astype(np.int64) + first_number, 0)),
        pa.array(rows["number"]),
        owners.take(pa.array(rows["cart"])),
        _moments(rows["last_activity_at"]),
        _moments(abandoned_at),
        _word(STAGES, rows["at_checkout"]),
        pa.array(rows["lines"]),
        pa.array(rows["units"]),
        _word(("recovered", "resumed", "open", "lost"), outcome),
        _moments(rows["resumed_at"]),
        _moments(completed_at),
        pa.array(mature),
    ]
    return pa.table(columns, schema=EPISODES)


def _word(words: Sequence[str], which: Array) -> pa.Array:
    """The word each index names; negative ones are null."""
    which = np.asarray(which, dtype=np.int32)
    return pa.array(words, pa.string()).take(pa.array(which, mask=which < 0))


def _text(numbers: Array) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.string())


def _joined(*parts: pa.Array | str, between: str = "") -> pa.Array:
    return pc.binary_join_element_wise(*parts, between)


def _present(values: Array) -> pa.Array:
    return pa.array(values, mask=values < 0)


def _moments(times_us: Array) -> pa.Array:
    return pa.array(times_us, mask=times_us == NEVER).cast(pa.timestamp("us")).cast(UTC_MICROS)


def _orders(numbers: Array, completed: Array) -> pa.Array:
    where = np.cumsum(completed) - 1
    names = _joined("order", _text(numbers[completed]), between="-")
    return names.take(pa.array(where, mask=~completed))


def _commands(numbers: Array, commands: Array) -> pa.Array:
    """A command_id for the events that belong to one command; no metadata elsewhere."""
    named = commands >= 0
    values = _joined("c", _text(numbers[named]), _text(commands[named]), between="-")
    ends = np.concatenate(([0], np.cumsum(named))).astype(np.int32)
    offsets = pa.array(ends, mask=np.concatenate((~named, [False])))
    return pa.MapArray.from_arrays(offsets, _word(("command_id",), np.zeros(len(values))), values)
