"""Whom to write to, what came of it, and what coupons do: candidates, assignments, outcomes, lift, coupon effects."""

from __future__ import annotations

import polars as pl

from pipelines.tables.abandonment import CART, LAST_ACTIVITY, STAGE
from pipelines.tables.contract import COUNT, FLAG, MOMENT, NUMBER, SMALL, TEXT, Column, Table

LIVE_LINE = pl.Struct(
    {
        "product_id": TEXT,
        "product_name": TEXT,
        "quantity": SMALL,
        "price_cents": COUNT,
        "original_price_cents": COUNT,
        "price_change_cents": COUNT,
        "currency": TEXT,
        "added_at": MOMENT,
        "added_version": SMALL,
        "version": SMALL,
        "in_stock": FLAG,
    }
)
REMOVED_LINE = pl.Struct(
    {"product_id": TEXT, "product_name": TEXT, "price_cents": COUNT, "removed_at": MOMENT, "removed_version": SMALL}
)
COUPON_STATE = pl.Struct(
    {"code": TEXT, "discount_type": TEXT, "discount_value": NUMBER, "ends_at": MOMENT, "state": TEXT}
)
CAMPAIGN = Column("campaign", TEXT, "id", "The campaign; the holdout is drawn anew for each.")
EPISODE_NO = Column("episode_no", SMALL, "number", "The number of the episode in its cart.")
USER = Column("user_id", TEXT, "id", "The shopper.", null="where the shopper was forgotten")

CANDIDATES = Table(
    "recovery_candidates",
    "One open episode: whether its shopper may be written to now, every reason why not, and what to write about.",
    ("campaign", "cart_id", "episode_no"),
    (
        CAMPAIGN,
        CART,
        EPISODE_NO,
        USER,
        Column("as_of", MOMENT, "time", "The moment of decision."),
        Column("eligible", FLAG, "yes/no", "Whether to write: exactly where reasons is empty."),
        Column(
            "reasons",
            pl.List(TEXT),
            "list",
            "Why not, in this order: bought_since, contacted, no_consent, no_address, below_minimum, mixed_currency, "
            "too_old, out_of_stock, another_cart (a better one of the same shopper uses up the cap), holdout.",
        ),
        Column(
            "assignment",
            TEXT,
            "word",
            "treatment or holdout, drawn by a hash of shopper and campaign.",
            null="where another reason stands against it",
        ),
        Column("send_after", MOMENT, "time", "The first moment outside the shopper's quiet hours."),
        Column("time_zone", TEXT, "word", "The shopper's IANA time zone.", null="where none is known"),
        STAGE,
        LAST_ACTIVITY,
        Column("abandoned_at", MOMENT, "time", "When the episode opened."),
        Column("hours_since", NUMBER, "h", "From last activity to as_of."),
        Column("line_count", SMALL, "count", "Live lines now."),
        Column("unit_count", COUNT, "count", "Units on them."),
        Column("currency", TEXT, "word", "Their currency.", null="where lines mix currencies"),
        Column("subtotal_cents", COUNT, "cents", "Price x quantity at prices now.", null="where lines mix currencies"),
        Column("discount_cents", COUNT, "cents", "What the live coupons take off.", null="where lines mix currencies"),
        Column("value_cents", COUNT, "cents", "Subtotal less discount.", null="where lines mix currencies"),
        Column("price_drop_cents", COUNT, "cents", "What became cheaper since it was added, over all units."),
        Column("lines", pl.List(LIVE_LINE), "list", "Live lines by (added_at, product_id): price now and when added."),
        Column("removed_lines", pl.List(REMOVED_LINE), "list", "Products taken out and not put back, latest first."),
        Column(
            "coupons",
            pl.List(COUPON_STATE),
            "list",
            "Coupons on the cart; state is active, expiring or expired.",
        ),
        Column("versions", pl.List(SMALL), "list", "The versions of the cart's events that this content rests on."),
        Column("recover_p", NUMBER, "ratio", "Estimated chance that the cart is still checked out in its window."),
        Column("expected_value_cents", NUMBER, "cents", "recover_p x value_cents.", null="where lines mix currencies"),
        Column("rank", SMALL, "number", "1 for the best of the eligible in its currency.", null="if ineligible"),
    ),
)

ASSIGNMENTS = Table(
    "recovery_assignments",
    "The first time an episode could be written to in a campaign, and which arm its shopper was in.",
    ("campaign", "cart_id", "episode_no"),
    (
        CAMPAIGN,
        CART,
        EPISODE_NO,
        USER,
        Column("assignment", TEXT, "word", "treatment or holdout."),
        Column("assigned_at", MOMENT, "time", "The as_of at which it first was eligible but for the holdout."),
        LAST_ACTIVITY,
        Column("value_cents", COUNT, "cents", "The cart's value then.", null="where lines mix currencies"),
        Column("recover_p", NUMBER, "ratio", "The chance estimated then."),
    ),
)

OUTCOMES = Table(
    "recovery_outcomes",
    "What became of one assigned episode.",
    ("campaign", "cart_id", "episode_no"),
    (
        CAMPAIGN,
        CART,
        EPISODE_NO,
        USER,
        Column("assignment", TEXT, "word", "treatment or holdout."),
        Column("assigned_at", MOMENT, "time", "When it was assigned."),
        Column("sent_at", MOMENT, "time", "The first send for it at or after assignment.", null="if none"),
        Column("recovered_any", FLAG, "yes/no", "Whether the cart was checked out within the window of assignment."),
        Column("recovered_attributed", FLAG, "yes/no", "Whether that was at or after the send."),
        Column("recovered_at", MOMENT, "time", "When.", null="unless recovered"),
        Column("order_id", TEXT, "id", "The order.", null="unless recovered"),
        Column("charged_cents", COUNT, "cents", "What it charged.", null="unless recovered"),
        Column("value_cents", COUNT, "cents", "The cart's value at assignment.", null="where lines mix currencies"),
        Column("mature", FLAG, "yes/no", "Whether the window is over."),
    ),
)

LIFT = Table(
    "recovery_lift",
    "What one campaign brought over its holdout, counted in shoppers whose window is over.",
    ("campaign",),
    (
        CAMPAIGN,
        Column("treatment_users", COUNT, "count", "Shoppers in treatment, written to or not."),
        Column("holdout_users", COUNT, "count", "Shoppers in the holdout."),
        Column("contacted_users", COUNT, "count", "Shoppers in treatment with a send."),
        Column("treatment_recovered", COUNT, "count", "Treatment shoppers with a recovered cart."),
        Column("holdout_recovered", COUNT, "count", "Holdout shoppers with a recovered cart."),
        Column("attributed", COUNT, "count", "Treatment shoppers who checked out after a send."),
        Column("treatment_rate", NUMBER, "ratio", "Recovered / users in treatment.", null="where nobody is"),
        Column("holdout_rate", NUMBER, "ratio", "Recovered / users in the holdout.", null="where nobody is"),
        Column("lift_abs", NUMBER, "ratio", "Treatment rate less holdout rate.", null="where an arm is empty"),
        Column("lift_low", NUMBER, "ratio", "Its lower 95 % limit.", null="where an arm is empty"),
        Column("lift_high", NUMBER, "ratio", "Its upper 95 % limit.", null="where an arm is empty"),
        Column("p_value", NUMBER, "ratio", "Two-sided p of no difference.", null="where an arm is empty"),
        Column("incremental_orders", NUMBER, "count", "lift_abs x treatment users.", null="where an arm is empty"),
        Column("immature_users", COUNT, "count", "Shoppers left out because their window is not over."),
    ),
)

COUPON_EFFECTS = Table(
    "coupon_effects",
    "What shoppers took out of their carts after one coupon left them, by why it left.",
    ("coupon_code", "reason"),
    (
        Column("coupon_code", TEXT, "id", "The coupon."),
        Column("reason", TEXT, "word", "expired, invalid or shopper."),
        Column("window_s", COUNT, "s", "How long after (and, as a baseline, before) removals of items count."),
        Column("removals", COUNT, "count", "Times it left an unfinished cart, with the window after it over."),
        Column("carts", COUNT, "count", "Different carts among them."),
        Column("lines_at_risk", COUNT, "count", "Live lines when it left."),
        Column("lines_removed", COUNT, "count", "Lines taken out in the window after."),
        Column("units_removed", COUNT, "count", "Units on them."),
        Column("rate_after", NUMBER, "ratio", "Lines taken out per window after.", null="where none was observed"),
        Column("rate_before", NUMBER, "ratio", "The same carts before.", null="where none was observed"),
        Column("rate_control", NUMBER, "ratio", "Carts that kept theirs, as long after.", null="where there are none"),
        Column("control_carts", COUNT, "count", "Carts behind rate_control."),
        Column("excess_over_before", NUMBER, "count", "Lines beyond rate_before.", null="where a rate is missing"),
        Column("excess_over_control", NUMBER, "count", "Lines beyond rate_control.", null="where a rate is missing"),
        Column("currency", TEXT, "word", "The currency of all these carts.", null="where they mix currencies"),
        Column("value_at_stake_cents", COUNT, "cents", "Subtotals when it left.", null="where currencies mix"),
        Column("value_removed_cents", COUNT, "cents", "Price x quantity of the removed.", null="where currencies mix"),
        Column(
            "excess_value_cents",
            NUMBER,
            "cents",
            "The share of value_removed_cents that is beyond rate_control.",
            null="where a rate is missing or currencies mix",
        ),
        Column("orders_within_day", COUNT, "count", "Carts checked out within a day after it left."),
        Column(
            "discount_saved_cents", COUNT, "cents", "What it would have cost on these orders.", null="if currencies mix"
        ),
        Column(
            "day_later_net_cents",
            NUMBER,
            "cents",
            "What a day more would have been worth: excess_value_cents less discount_saved_cents.",
            null="where a rate is missing or currencies mix",
        ),
    ),
)

TABLES = (CANDIDATES, ASSIGNMENTS, OUTCOMES, LIFT, COUPON_EFFECTS)
