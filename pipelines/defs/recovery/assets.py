"""Recovery: the candidates, who was drawn into which arm, what became of them, and the campaign's lift."""

from datetime import datetime, timedelta
from functools import partial

import polars as pl
import pyarrow as pa

from pipelines.by_cart import ByCart, kept
from pipelines.defs.deriving import Derived, table
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import coupon_events, coupons, recovery, recovery_outcomes
from pipelines.derive.histories import COLUMNS
from pipelines.shop import ids_of

GROUP = "recovery"
CANDIDATE_COLUMNS = (*COLUMNS, "product_name", "metadata")
ORDER_COLUMNS = ("cart_id", "user_id", "version", "timestamp", "type", "order_id", "total_cents")


@table("recovery_candidates", group=GROUP, deps=["abandonment_episodes"])
def recovery_candidates(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """Every open episode, eligible or not with every reason, and what to write about; the most promising first."""
    episodes = shop.table("abandonment_episodes")
    waiting = episodes.filter(pl.col("outcome") == "open")["cart_id"]
    inputs = recovery.Inputs(*(shop.given(name) for name in ("contacts", "sends", "stock", "coupons")))
    bought = kept(shop, orders(as_of), as_of)
    with shop.history() as history:
        open_events = pa.concat_tables(history.of(ids_of(waiting), CANDIDATE_COLUMNS))
    frame = recovery.candidates_of(episodes, bought.frame, open_events, as_of, inputs, terms.policy)
    return Derived(frame, {"recomputed": f"{frame.height:,} open carts; orders: {bought.told['recomputed']}"})


def orders(as_of: datetime) -> ByCart:
    """Every order up to a moment, whose rows change with events alone."""
    derive = partial(recovery.orders, as_of=as_of)
    return ByCart("orders", ORDER_COLUMNS, derive, timedelta(0), sort=("cart_id", "version"))


@table("recovery_assignments", group=GROUP, deps=["recovery_candidates"])
def recovery_assignments(shop: Shop, _terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """Who was drawn into treatment or holdout, and when first; what was drawn once stays."""
    name = "recovery_assignments"
    earlier = shop.table(name) if shop.has_table(name) else None
    return recovery_outcomes.assignments(shop.table("recovery_candidates"), earlier)


@table("recovery_outcomes", group=GROUP, deps=["recovery_assignments"])
def recovery_outcome(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """What became of each assigned episode: any order within the window, and whether it followed a mail."""
    bought = kept(shop, orders(as_of), as_of)
    assigned, sends = shop.table("recovery_assignments"), shop.given("sends")
    frame = recovery_outcomes.outcomes(assigned, bought.frame, sends, as_of, terms.window)
    return Derived(frame, {"recomputed": f"{frame.height:,} rows; orders: {bought.told['recomputed']}"})


@table("recovery_lift", group=GROUP, deps=["recovery_outcomes"])
def recovery_lift(shop: Shop, _terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """What each campaign brought over its holdout, with its interval; shoppers whose windows are open do not count."""
    return recovery_outcomes.lift(shop.table("recovery_outcomes"))


@table("coupon_effects", group="coupons", deps=["events"])
def coupon_effects(shop: Shop, _terms: Terms, as_of: datetime) -> Derived:
    """What shoppers took out of their carts after each coupon had left, against two baselines."""
    plan = ByCart("coupons", COLUMNS, partial(coupon_events.coupon_rows, as_of=as_of), horizon=timedelta(0))
    found = kept(shop, plan, as_of)
    return Derived(coupons.effects_of(coupon_events.coupons_of(found.frame), as_of), found.told)
