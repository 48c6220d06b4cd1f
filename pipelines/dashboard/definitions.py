"""What each figure on a page means, in words; the full definitions are in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure's name on the page, and exactly what it counts."""

    title: str
    meaning: str


FIGURES = {
    "carts": Figure("Carts started", "Carts into which at least one item was ever put."),
    "orders": Figure("Orders", "Carts that were checked out."),
    "revenue": Figure(
        "Charged", "What those orders charged, in the currency that most carts have; others are counted, not summed."
    ),
    "checkout_rate": Figure(
        "Carts that check out",
        "Of the carts whose first item was added on a day whose window is over, the share that is checked out.",
    ),
    "abandonment_rate": Figure(
        "Carts left at least once",
        "Of the same carts, the share that was silent for the idle time or longer while it held at least one unit and "
        "was not checked out. A cart that is bought later still counts as left once; emptying a cart does not.",
    ),
    "recovery_rate": Figure(
        "Left, then bought",
        "Of the silences whose attribution window is over, the share after which the cart was checked out within it.",
    ),
    "open_episodes": Figure("Carts silent now", "Silences that neither activity nor a checkout has ended."),
    "open_value": Figure("Lying in them", "What those carts are worth at prices of now, after their coupons."),
    "eligible": Figure(
        "May be written to",
        "Silent carts against which no reason stands: consent, an address, stock, enough value, not too old, nothing "
        "bought since, not written to lately, not in the holdout.",
    ),
    "eligible_value": Figure("Their value", "What the carts that may be written about are worth."),
    "expected_value": Figure(
        "Expected from them",
        "The sum of each cart's value times its estimated chance of being checked out in its window, taken from the "
        "shop's own history by stage, value and hours since, shrunk towards the whole. It is no promise, and not "
        "the lift of writing: that is measured against the holdout.",
    ),
}
"""Every headline figure by its name in the table ``headline``."""

REASONS = {
    "bought_since": "The shopper has checked out a cart since.",
    "contacted": "Was written to within the frequency cap.",
    "no_consent": "Did not agree to be written to.",
    "no_address": "No address is known.",
    "below_minimum": "The cart is worth less than the campaign's minimum.",
    "mixed_currency": "Lines in several currencies have no total.",
    "too_old": "Silent for longer than the campaign reaches back.",
    "out_of_stock": "Nothing in the cart can be delivered.",
    "another_cart": "The shopper is written to about another cart that promises more.",
    "holdout": "Drawn into the holdout, so that the campaign's effect can be measured.",
}
"""Why an open episode is left alone, by the reason's name."""

SECTIONS = {
    "funnel": "A shopper counts once, with the attempt that got furthest. Steps must follow each other within the "
    "window of the first (7 days unless told otherwise, inclusive); other events may lie between. A share can never "
    "exceed 100 %. Times are from the step before, over those who converted.",
    "trend": "Each attempt counts on the day of its first touch, so days add up to the whole. Hollow points and "
    "dashed lines are days whose window is still open: their shares can only rise.",
    "abandonment": "A silence opens once a cart that is not checked out and holds at least one unit has seen no "
    "activity of its shopper for the idle time. It ends as bought (checked out within the attribution window), came "
    "back only (activity, but no checkout), or lost. Until the window is over it is not decided, and never counted "
    "as lost.",
    "recovery": "One row per cart that is silent now, highest expected value first. Nothing is dropped silently: each "
    "cart that is not listed stands below with the reason. Send after is the first moment outside the shopper's quiet "
    "hours, in the zone shown.",
    "coupons": "Items removed within the window after a coupon left the cart, per coupon removal; before is the same "
    "carts in as long a window before, elsewhere is carts with a coupon that stayed.",
    "experiments": "Only what a user did at or after the first exposure counts; users seen in two variants are left "
    "out. Every effect stands with its 95 % interval; the corrected p accounts for looking at several metrics. When "
    "arms do not have the planned sizes, no effect should be trusted.",
    "freshness": "Every table is written whole or not at all. Events read is the position of the last event it saw.",
}
"""How the figures of each section are made."""

DETAILS = {
    "groups": "The same funnel for each value that a shopper had at the first touch of the attempt: the weekday, or "
    "the variant of an experiment. Groups differ by chance, too: only an experiment tells whether a variant did it.",
    "times": "Over those who took the step: how long after the other step, in classes whose lower edge counts and "
    "whose upper edge does not.",
    "srm": "Sample ratio mismatch: a chi-square test of the users in each arm against the planned shares. Below p = "
    "0.001 the split went wrong, and no effect of the experiment should be used.",
    "guardrails": "Each guardrail may get worse by less than its margin. It has held once the whole 95 % interval is "
    "on the good side of the margin, is broken once all of it is beyond, and is undecided in between.",
    "cuped": "CUPED explains part of the differences between shoppers by what they did before their exposure, and "
    "takes it out. Both estimates aim at the same effect; the adjusted one has the narrower interval where the past "
    "tells.",
    "band": "The inner band is a plain 95 % interval, right for one look at the planned end. Looking at it every day "
    "and stopping when it excludes 0 finds effects that are not there. The outer band may be looked at every day: with "
    "95 % it covers the true difference on all days at once. Shares are fractions, money is in minor units.",
    "lift": "Shoppers are compared by assignment, written to or not, so nothing but the campaign tells the two apart. "
    "Only shoppers whose window is over count; the interval is a 95 % interval of the difference of the two shares.",
    "worth": "The value that shoppers took out beyond what carts that kept their coupon lost, less what the discount "
    "would have cost on the orders within a day.",
    "checks": "Each check is one rule; it holds where no row breaks it. A blocking one stops whatever is derived from "
    "its table, so that no figure rests on rows that are wrong.",
    "set_aside": "A row that could not be imported is kept whole with its file, line and reason. Mend the file and "
    "import it again: rows that are known by then are passed over.",
    "overcharges": "An order is listed where it charged another total than its cart's events add up to at that moment. "
    "The reason names which other total was charged, where one fits.",
    "prices": "What one unit cost in this cart: as it was added, and after each change of the shop's price while it "
    "stood in the cart.",
}
"""How the figures are made that only the dashboard shows."""
