"""Whom to write to about an abandoned cart: every open episode, whether it may be written about, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from pipelines.derive.abandonment import episodes
from pipelines.derive.frames import Frame, collected, utc
from pipelines.derive.histories import COLUMNS
from pipelines.derive.recovery_content import content
from pipelines.derive.recovery_policy import HOLDOUT, REASONS, Policy
from pipelines.derive.recovery_value import learn
from pipelines.tables import INPUTS, TABLES
from pipelines.tables.contract import ID_BYTES, MOMENT, SMALL, TEXT, ids_as_bytes, ids_as_text

__all__ = ["REASONS", "Inputs", "Policy", "candidates", "candidates_of", "of_carts", "orders"]

TABLE = TABLES["recovery_candidates"]
OPEN = ("cart_id", "episode_no", "user_id", "stage", "last_activity_at", "abandoned_at")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a shop hands in: tables with the columns of ``INPUTS``; a table that it does not have is empty."""

    contacts: pl.DataFrame = field(default_factory=INPUTS["contacts"].empty)
    sends: pl.DataFrame = field(default_factory=INPUTS["sends"].empty)
    stock: pl.DataFrame = field(default_factory=INPUTS["stock"].empty)
    coupons: pl.DataFrame = field(default_factory=INPUTS["coupons"].empty)


def candidates(events: Frame, as_of: datetime, inputs: Inputs, policy: Policy | None = None) -> pl.DataFrame:
    """Every open episode of the carts in ``events`` as of a moment: the columns of recovery_candidates.

    ``events`` is a frame of EVENTS with all events of its carts; past episodes in it teach the chance of recovery.
    One row per open episode, eligible or not, with every reason against it; the eligible by rank first, then the
    others by cart_id. Raises as ``episodes``.
    """
    policy, as_of = policy or Policy(), utc(as_of)
    found = episodes(events, as_of, policy.idle, policy.window)
    waiting = found.filter(pl.col("outcome") == "open")["cart_id"]
    return candidates_of(found, orders(events, as_of), of_carts(events, waiting), as_of, inputs, policy)


def candidates_of(
    found: pl.DataFrame,
    bought: pl.DataFrame,
    open_events: Frame,
    as_of: datetime,
    inputs: Inputs,
    policy: Policy,
) -> pl.DataFrame:
    """``candidates`` for a caller that has all episodes, the ``orders`` of all carts, and the open carts' events."""
    as_of = utc(as_of)
    open_now = found.filter(pl.col("outcome") == "open").select(OPEN)
    told = content(open_events, as_of, inputs.coupons, inputs.stock, policy.coupon_warning)
    rows = (
        open_now.join(told, on="cart_id", how="left")
        .join(inputs.contacts, on="user_id", how="left")
        .join(_last_orders(bought), on="user_id", how="left")
        .join(_contacts_within_cap(inputs.sends, as_of, policy), on="user_id", how="left")
        .with_columns(
            hours_since=(as_of - pl.col("last_activity_at")).dt.total_microseconds() / 3_600_000_000,
            open_s=(as_of - pl.col("abandoned_at")).dt.total_seconds(),
            contacts=pl.col("contacts").fill_null(0),
        )
        .with_columns(as_of=pl.lit(as_of).cast(MOMENT), campaign=pl.lit(policy.campaign))
    )
    valued = rows.with_columns(learn(found).of(rows)).with_columns(
        expected_value_cents=pl.col("recover_p") * pl.col("value_cents")
    )
    judged = _timed(_assigned(_judged(valued, as_of, policy), policy), as_of, policy)
    return _ranked(judged).select(TABLE.schema.names())


def orders(events: Frame, as_of: datetime) -> pl.DataFrame:
    """Every CheckoutCompleted up to a moment: cart_id, user_id, version, completed_at, order_id, charged_cents."""
    columns = ["cart_id", "user_id", "version", "timestamp", "type", "order_id", "total_cents"]
    done = collected(events, columns).filter(pl.col("type") == "CheckoutCompleted", pl.col("timestamp") <= utc(as_of))
    renamed = ids_as_text(done.drop("type")).rename({"timestamp": "completed_at", "total_cents": "charged_cents"})
    return renamed.sort("cart_id", "version")


def of_carts(events: Frame, cart_ids: pl.Series) -> pl.DataFrame:
    """The events of these carts, whose ids are text, with the columns that candidates are told from."""
    columns = [*COLUMNS, "product_name", "metadata"]
    wanted = cart_ids.unique().to_frame("cart_id")
    rows = collected(events, columns)
    if rows.schema["cart_id"] == ID_BYTES:
        wanted = ids_as_bytes(wanted)
    return rows.join(wanted, on="cart_id", how="semi")


def _last_orders(bought: pl.DataFrame) -> pl.DataFrame:
    return bought.group_by("user_id").agg(bought_at=pl.col("completed_at").max())


def _contacts_within_cap(sends: pl.DataFrame, as_of: datetime, policy: Policy) -> pl.DataFrame:
    recent = sends.filter(pl.col("sent_at") > as_of - policy.cap_period, pl.col("sent_at") <= as_of)
    return recent.group_by("user_id").agg(contacts=pl.len().cast(SMALL))


def _judged(rows: pl.DataFrame, as_of: datetime, policy: Policy) -> pl.DataFrame:
    """The reasons that each row has by itself; an unknown consent is none, and an unknown stock is enough."""
    in_stock = pl.col("lines").list.eval(pl.element().struct.field("in_stock").fill_null(value=True)).list.any()
    against = {
        "bought_since": pl.col("bought_at") >= pl.col("last_activity_at"),
        "contacted": pl.col("contacts") >= policy.cap,
        "no_consent": ~pl.col("consent").fill_null(value=False),
        "no_address": pl.col("email").fill_null("").str.strip_chars() == "",
        "below_minimum": pl.col("value_cents") < policy.min_value_cents,
        "mixed_currency": pl.col("value_cents").is_null(),
        "too_old": as_of - pl.col("last_activity_at") > policy.max_age,
        "out_of_stock": ~in_stock,
    }
    return rows.with_columns(reasons=_reasons(against))


def _assigned(rows: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Of a shopper's carts the best ones, as many as the cap leaves, draw an arm; the holdout is not written to."""
    free = pl.col("reasons").list.len() == 0
    order = pl.struct(-pl.col("expected_value_cents"), -pl.col("abandoned_at").to_physical(), "cart_id")
    place = order.rank("ordinal").over("user_id", free)
    crowded = rows.with_columns(another_cart=free & (place > policy.cap - pl.col("contacts")))
    drawn = crowded.filter(free & ~pl.col("another_cart"))["user_id"].drop_nulls().unique()
    arms = pl.DataFrame(
        {"user_id": drawn, "assignment": [policy.assignment(user) for user in drawn]},
        schema={"user_id": TEXT, "assignment": TEXT},
    )
    joined = crowded.join(arms, on="user_id", how="left", maintain_order="left").with_columns(
        assignment=pl.when(free & ~pl.col("another_cart")).then(pl.col("assignment"))
    )
    more = _reasons({"another_cart": pl.col("another_cart"), "holdout": pl.col("assignment") == HOLDOUT})
    return joined.with_columns(reasons=pl.concat_list("reasons", more))


def _reasons(against: dict[str, pl.Expr]) -> pl.Expr:
    told = [pl.when(condition).then(pl.lit(reason)) for reason, condition in against.items()]
    return pl.concat_list(told).list.drop_nulls()


def _timed(rows: pl.DataFrame, as_of: datetime, policy: Policy) -> pl.DataFrame:
    """When each mail may go out: the same for all shoppers of one zone."""
    zones = rows["time_zone"].unique().to_list()
    moments = [policy.send_after(as_of, zone) for zone in zones]
    known = pl.DataFrame({"time_zone": zones, "send_after": moments}, schema={"time_zone": TEXT, "send_after": MOMENT})
    return rows.join(known, on="time_zone", how="left", nulls_equal=True)


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """Ranks within each currency, as sums of different ones cannot be compared."""
    judged = rows.with_columns(eligible=pl.col("reasons").list.len() == 0)
    best_first = pl.struct(-pl.col("expected_value_cents"), "cart_id").rank("ordinal").over("currency", "eligible")
    ranked = judged.with_columns(rank=pl.when("eligible").then(best_first).cast(SMALL))
    return ranked.sort("rank", "currency", "cart_id", nulls_last=True)
