"""What must hold of episodes, of the events that announce them, and of their figures."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from pipelines.defs.abandonment.announcing import METADATA
from pipelines.defs.checking import invariant, invariant_of_carts
from pipelines.defs.shop import Shop

SHOPPER_ACTS = ("ItemAdded", "ItemRemoved", "QuantityChanged", "CouponApplied", "CheckoutStarted", "CheckoutCompleted")


@invariant("abandonment_episodes")
def silences_are_long_enough(shop: Shop) -> pl.DataFrame:
    """Every episode opens exactly its idle time after the last activity, and nothing resolves it before."""
    opened = pl.col("last_activity_at") + pl.duration(seconds=pl.col("idle_s"))
    early = pl.col("resolved_at").fill_null(pl.col("abandoned_at")) < pl.col("abandoned_at")
    return shop.table("abandonment_episodes").filter((pl.col("abandoned_at") != opened) | early)


@invariant("abandonment_episodes")
def nothing_undecided_counts_as_lost(shop: Shop) -> pl.DataFrame:
    """An episode is lost only once its window is over, and open only until then."""
    lost_early = (pl.col("outcome") == "lost") & ~pl.col("mature")
    open_late = (pl.col("outcome") == "open") & pl.col("mature")
    return shop.table("abandonment_episodes").filter(lost_early | open_late)


@invariant("abandonment_episodes")
def each_order_is_credited_once(shop: Shop) -> pl.DataFrame:
    """Of a cart's episodes at most one is credited with its order."""
    credited = shop.table("abandonment_episodes").filter("credited")
    return credited.filter(pl.col("cart_id").is_duplicated())


OURS = (pl.col("type") == "CartAbandoned") & (pl.col("metadata").map.get("source") == METADATA["source"])


@invariant_of_carts("abandonment_events", ("cart_id", "version", "type", "last_activity_at", "metadata"))
def each_silence_is_announced_once(events: pa.Table) -> pl.DataFrame:
    """This job never told a cart twice of one silence."""
    ours = pl.DataFrame(events).filter(OURS).drop("metadata")
    return ours.filter(pl.struct("cart_id", "last_activity_at").is_duplicated())


@invariant_of_carts("abandonment_events", ("cart_id", "version", "timestamp", "type", "last_activity_at", "metadata"))
def nobody_acted_before_the_announcement(events: pa.Table) -> pl.DataFrame:
    """No activity lies between the last one that an event of this job states and the event, in the cart's order."""
    rows = pl.DataFrame(events).filter(pl.col("type").is_in(("CartAbandoned", *SHOPPER_ACTS)))
    acted = pl.when(pl.col("type") != "CartAbandoned").then("timestamp").cum_max().over("cart_id")
    latest = pl.col("acted_at").fill_null(strategy="forward").over("cart_id")
    rows = rows.with_columns(ours=OURS.fill_null(value=False), acted_at=acted).with_columns(acted_at=latest)
    return rows.filter("ours", pl.col("acted_at") > pl.col("last_activity_at")).drop("metadata")


@invariant("abandonment_daily")
def outcomes_add_up(shop: Shop) -> pl.DataFrame:
    """Each day's mature episodes are recovered, resumed or lost, and with the immature ones they are all of them."""
    decided = pl.col("recovered") + pl.col("resumed") + pl.col("lost")
    whole = pl.col("mature") + pl.col("immature")
    return shop.table("abandonment_daily").filter((pl.col("mature") != decided) | (pl.col("episodes") != whole))


@invariant("abandonment_hourly")
def hours_add_up_to_the_episodes(shop: Shop) -> pl.DataFrame:
    """The hours' episodes are as many as there are episodes under that definition."""
    hours = shop.table("abandonment_hourly").group_by("idle_s").agg(hourly=pl.col("episodes").sum())
    episodes = shop.table("abandonment_episodes").group_by("idle_s").agg(episodes=pl.len().cast(pl.Int64))
    return hours.join(episodes, on="idle_s", how="full", coalesce=True).filter(
        pl.col("hourly").ne_missing(pl.col("episodes"))
    )


@invariant("cart_cohorts")
def rates_are_shares(shop: Shop) -> pl.DataFrame:
    """No cohort has more abandoned or checked-out carts than carts."""
    cohorts = shop.table("cart_cohorts")
    return cohorts.filter((pl.col("abandoned") > pl.col("carts")) | (pl.col("checked_out") > pl.col("carts")))


@invariant("restatements")
def restatements_say_what_changed(shop: Shop) -> pl.DataFrame:
    """An added episode has no earlier outcome, a withdrawn one no later, and a changed one names its columns."""
    added = (pl.col("change") == "added") & pl.col("outcome_1").is_not_null()
    withdrawn = (pl.col("change") == "withdrawn") & pl.col("outcome_2").is_not_null()
    changed = (pl.col("change") == "changed") & (pl.col("fields").fill_null("") == "")
    return shop.table("restatements").filter(added | withdrawn | changed)
