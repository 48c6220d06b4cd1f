"""What must hold before anybody is written to."""

from __future__ import annotations

import polars as pl

from cart_core import rules
from pipelines.by_cart import kept
from pipelines.defs.checking import invariant
from pipelines.defs.recovery.assets import orders
from pipelines.defs.shop import Shop


@invariant("recovery_candidates")
def buyers_are_excluded(shop: Shop) -> pl.DataFrame:
    """Nobody is eligible who has checked out any cart since the silence began."""
    notes = shop.notes("recovery_candidates")
    as_of = rules.parse_time(notes["as_of"])
    bought = kept(shop.up_to(int(notes["position"])), orders(as_of), as_of, anew=shop.check_all)
    latest = bought.frame.group_by("user_id").agg(bought_at=pl.col("completed_at").max())
    eligible = shop.table("recovery_candidates").filter("eligible").join(latest, on="user_id")
    return eligible.filter(pl.col("bought_at") >= pl.col("last_activity_at"))


@invariant("recovery_candidates")
def nobody_is_written_to_without_consent(shop: Shop) -> pl.DataFrame:
    """Every eligible shopper has agreed and has an address, as the shop's contacts stand."""
    contacts = shop.given("contacts").filter("consent", pl.col("email").is_not_null())
    return shop.table("recovery_candidates").filter("eligible").join(contacts, on="user_id", how="anti")


@invariant("recovery_candidates")
def silences_are_fresh(shop: Shop) -> pl.DataFrame:
    """The candidates and the silences they come from are as of one moment, so that nobody is written to late."""
    names = ("abandonment_episodes", "recovery_candidates")
    told = pl.DataFrame({"table": names, "as_of": [shop.notes(name).get("as_of") for name in names]})
    return told.filter(pl.col("as_of").n_unique() > 1)


@invariant("recovery_candidates")
def every_no_has_its_reason(shop: Shop) -> pl.DataFrame:
    """A candidate is eligible exactly where no reason stands against it."""
    return shop.table("recovery_candidates").filter(pl.col("eligible") != (pl.col("reasons").list.len() == 0))


@invariant("recovery_candidates")
def every_open_episode_is_there(shop: Shop) -> pl.DataFrame:
    """Each open episode is a candidate once, and no other is."""
    keys = ["cart_id", "episode_no"]
    is_open = shop.table("abandonment_episodes").filter(pl.col("outcome") == "open").select(keys)
    named = shop.table("recovery_candidates").select(keys)
    return pl.concat([is_open.join(named, on=keys, how="anti"), named.join(is_open, on=keys, how="anti")])


@invariant("recovery_assignments")
def a_shopper_stays_in_one_arm(shop: Shop) -> pl.DataFrame:
    """No shopper is in the treatment and in the holdout of one campaign."""
    arms = shop.table("recovery_assignments").group_by("campaign", "user_id").agg(pl.col("assignment").n_unique())
    return arms.filter(pl.col("assignment") > 1)


@invariant("recovery_outcomes")
def nothing_is_recovered_before_its_assignment(shop: Shop) -> pl.DataFrame:
    """An order counts only from the assignment on, and only after a mail as attributed to it."""
    early = pl.col("recovered_at") < pl.col("assigned_at")
    unsent = pl.col("recovered_attributed") & pl.col("sent_at").is_null()
    return shop.table("recovery_outcomes").filter(early | unsent)


@invariant("recovery_lift")
def recovered_are_part_of_their_arm(shop: Shop) -> pl.DataFrame:
    """No arm has more recovered shoppers than shoppers, and every lift lies within its interval."""
    lift = shop.table("recovery_lift")
    too_many = (pl.col("treatment_recovered") > pl.col("treatment_users")) | (
        pl.col("holdout_recovered") > pl.col("holdout_users")
    )
    outside = ~pl.col("lift_abs").is_between("lift_low", "lift_high")
    return lift.filter(too_many | outside.fill_null(value=False))


@invariant("coupon_effects")
def coupons_take_no_more_than_was_there(shop: Shop) -> pl.DataFrame:
    """No coupon left more carts than times, and what was removed after it was at stake."""
    effects = shop.table("coupon_effects")
    return effects.filter((pl.col("carts") > pl.col("removals")) | (pl.col("rate_after") < 0))
