"""The listings that only the dashboard has room for, and the sentence that stands above each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from html import escape
from typing import Any
from uuid import UUID

import polars as pl

from cart_core import rules
from pipelines.dashboard import links, words
from pipelines.dashboard.listings import SILENT_FOR, Column, contents, listed, listing, number, send_after
from pipelines.tables import Table

SHOWN_ROWS = 50
SMALL_P = 0.001
P_DIGITS = 3


def maturity(results: pl.DataFrame) -> str:
    """Whether the results of an experiment can still change."""
    final = bool(results["mature"].fill_null(value=False).all())
    return "Final: every shopper's time to act is over." if final else "Not final: some shoppers' time is not over."


def split_told(arms: pl.DataFrame) -> str:
    """What the test of an experiment's split says."""
    p_value: float | None = arms.row(0, named=True)["p_value"]
    if p_value is None:
        return "There is only one arm, so there is no split to test."
    if arms["alarm"].any():
        return f"No: a split as uneven as this has p = {p(p_value)}. Do not use the effects below."
    return f"Yes: nothing speaks against it (p = {p(p_value)})."


def p(value: float | None) -> str:
    """A p-value, never written as 0."""
    if value is None:
        return words.NOTHING
    return "< 0.001" if value < SMALL_P else f"{value:.{P_DIGITS}f}"


def guardrails(frame: pl.DataFrame) -> str:
    """Each guardrail with its change and what that means."""
    return listed(
        "Guardrails",
        frame.iter_rows(named=True),
        {
            "metric": Column("Guardrail", lambda row: f"<b>{escape(words.words(row['metric']))}</b>"),
            "change": number("Change", lambda row: words.change(row["effect_rel"])),
            "interval": number("95 % interval", _interval),
            "verdict": Column("In words", lambda row: escape(row["verdict"])),
        },
    )


def effects(frame: pl.DataFrame) -> str:
    """Every metric, raw and adjusted."""
    return listed(
        "Effects, raw and adjusted",
        frame.iter_rows(named=True),
        {
            "metric": Column(
                "Metric",
                lambda row: (
                    f'<b>{escape(words.words(row["metric"]))}</b><span class="aside">{escape(row["role"])}</span>'
                ),
            ),
            "adjusted": Column("Estimate", lambda row: escape(row["adjusted"])),
            "change": number("Change", lambda row: words.change(row["effect_rel"])),
            "interval": number("95 % interval", _interval),
            "p": number("p", lambda row: p(row["p_value"])),
            "corrected": number("p, corrected", lambda row: p(row["p_corrected"])),
            "always": number("p, always valid", lambda row: p(row["always_p"])),
            "detectable": number("Found with 80 % power", lambda row: words.share(row["detectable_rel"])),
        },
    )


def band_lead(daily: pl.DataFrame) -> str:
    """How far the days of an experiment go."""
    return (
        f"{words.count(daily['date'].n_unique())} days; grey is safe to look at every day, green only once at the end."
    )


def candidates(frame: pl.DataFrame) -> str:
    """Silent carts with what is in them, what they promise, and every reason to leave them alone."""
    return listed(
        "Silent carts",
        frame.iter_rows(named=True),
        {
            "rank": number("#", lambda row: str(row["rank"] or words.NOTHING)),
            "who": Column(
                "Shopper",
                lambda row: (
                    f"<b>{escape(words.short_id(row['user_id'] or 'forgotten', 14))}</b>"
                    f'<span class="aside">{cart_link(row["cart_id"])}</span>'
                ),
            ),
            "what": Column("What is in the cart", contents),
            "value": number("Value", lambda row: words.money(row["value_cents"], row["currency"])),
            "expected": number(
                "Expected",
                lambda row: (
                    f"{words.money(row['expected_value_cents'])}"
                    f'<span class="aside">{words.share(row["recover_p"])} likely</span>'
                ),
            ),
            "since": SILENT_FOR,
            "decision": Column("Write?", _decision),
        },
    )


def cart_link(cart_id: str, version: int | None = None, text: str | None = None) -> str:
    """A cart by the first characters of its id, leading to the cart explorer."""
    return links.anchor(links.cart(cart_id, version), text or f"cart {words.short_id(cart_id)}")


def _decision(row: Mapping[str, Any]) -> str:
    if row["eligible"]:
        return f"after {send_after(row)}"
    reasons = (escape(words.words(reason)) for reason in row["reasons"])
    return " ".join(f'<span class="pill warn">{reason}</span>' for reason in reasons)


def lift_lead(frame: pl.DataFrame) -> str:
    """What the campaigns brought, or how long that is still to wait for."""
    decided = frame.filter(pl.col("lift_abs").is_not_null())
    if decided.is_empty():
        return (
            f"Not decided yet: the windows of {words.count(sum(frame['immature_users'].to_list()))} shoppers are open."
        )
    row = decided.row(0, named=True)
    interval = f"{words.change(row['lift_low'])} to {words.change(row['lift_high'])} points"
    return (
        f"{words.share(row['treatment_rate'])} of those who could be written to bought, against "
        f"{words.share(row['holdout_rate'])} in the holdout; the difference lies between {interval}."
    )


def lift(frame: pl.DataFrame) -> str:
    """Each campaign against its holdout."""
    return listed(
        "Campaigns against their holdouts",
        frame.iter_rows(named=True),
        {
            "campaign": Column("Campaign", lambda row: f"<b>{escape(row['campaign'])}</b>"),
            "treatment": number(
                "Bought, in treatment",
                lambda row: _of(row["treatment_recovered"], row["treatment_users"], row["treatment_rate"]),
            ),
            "holdout": number(
                "Bought, in holdout",
                lambda row: _of(row["holdout_recovered"], row["holdout_users"], row["holdout_rate"]),
            ),
            "lift": number(
                "Difference",
                lambda row: (
                    f"{words.change(row['lift_abs'])}"
                    f'<span class="aside">{words.change(row["lift_low"])} to {words.change(row["lift_high"])}</span>'
                ),
            ),
            "p": number("p", lambda row: p(row["p_value"])),
            "orders": number(
                "Orders it brought",
                lambda row: words.NOTHING if row["incremental_orders"] is None else f"{row['incremental_orders']:,.1f}",
            ),
            "open": number("Not decided yet", lambda row: words.count(row["immature_users"])),
        },
    )


def coupon_worth(frame: pl.DataFrame) -> str:
    """What each coupon's end cost, and what a day more would have been worth."""
    return listed(
        "What coupons are worth",
        frame.iter_rows(named=True),
        {
            "coupon": Column("Coupon", lambda row: f"<b>{escape(row['coupon_code'])}</b>"),
            "removals": number("Times", lambda row: words.count(row["removals"])),
            "stake": number("Value at stake", lambda row: words.money(row["value_at_stake_cents"], row["currency"])),
            "removed": number("Value taken out", lambda row: words.money(row["value_removed_cents"], row["currency"])),
            "excess": number(
                "Of that, beyond elsewhere", lambda row: words.money(row["excess_value_cents"], row["currency"])
            ),
            "saved": number("Discount saved", lambda row: words.money(row["discount_saved_cents"], row["currency"])),
            "net": number(
                "A day more, net", lambda row: f"<b>{words.money(row['day_later_net_cents'], row['currency'])}</b>"
            ),
        },
    )


def checks_lead(noted: Sequence[Mapping[str, Any]]) -> str:
    """How many checks hold."""
    holding = sum(each["offending_rows"] == 0 for each in noted)
    if holding == len(noted):
        return f"All {len(noted)} checks hold."
    return f"{len(noted) - holding} of {len(noted)} checks do not hold: do not use the figures of those tables."


def checks(noted: Sequence[Mapping[str, Any]]) -> str:
    """Every check with its rule, whether it holds, and when that was seen."""
    return listed(
        "Checks",
        noted,
        {
            "state": Column(
                "State",
                lambda each: (
                    '<span class="pill good">holds</span>'
                    if each["offending_rows"] == 0
                    else f'<span class="pill warn">{words.count(each["offending_rows"])} rows break it</span>'
                ),
            ),
            "rule": Column("Rule", lambda each: escape(" ".join(each["rule"].split()))),
            "table": Column("Table", lambda each: f"<code>{escape(each['table'])}</code>"),
            "at": Column("Checked", lambda each: words.moment(each["at"])),
        },
    )


def overcharges_lead(number: int) -> str:
    """How many orders charged another total than their cart's."""
    if number == 0:
        return "Every order charged what its cart's events add up to."
    return f"{words.count(number)} {'order' if number == 1 else 'orders'} charged another total than the cart's events."


def overcharges(frame: pl.DataFrame) -> str:
    """Orders by how far the charge is off."""
    return listed(
        "Orders that do not add up",
        frame.iter_rows(named=True),
        {
            "order": Column(
                "Order",
                lambda row: (
                    f'<b>{escape(row["order_id"])}</b><span class="aside">'
                    f"{cart_link(row['cart_id'], row['version'])}</span>"
                ),
            ),
            "at": Column("Completed", lambda row: words.moment(row["completed_at"])),
            "charged": number("Charged", lambda row: words.money(row["charged_cents"], row["currency"])),
            "projected": number("Cart's total", lambda row: words.money(row["projected_cents"], row["currency"])),
            "difference": number("Difference", lambda row: words.money(row["difference_cents"], row["currency"])),
            "reason": Column("Which other total", lambda row: escape(words.words(row["reason"]))),
        },
    )


def row(table: Table, found: Mapping[str, Any], column: str | None) -> str:
    """One row of a table, a line for each column with its unit and meaning, or the one column asked for."""
    rows = [
        {
            "name": f"<code>{escape(each.name)}</code>",
            "value": f"<b>{escape(_value(found.get(each.name), each.unit))}</b>",
            "meaning": f'{escape(each.meaning)} <span class="aside">{escape(each.unit)}</span>',
        }
        for each in table.columns
        if column is None or each.name == column or each.name in table.key
    ]
    return listing(rows, {"name": "Column", "value": "Value", "meaning": "Meaning"}, name="The row", numbers=("value",))


def parts_lead(frame: pl.DataFrame) -> str:
    """How many parts there are, and of how many carts."""
    carts = frame["cart_id"].drop_nulls().n_unique()
    more = f"; the first {SHOWN_ROWS} are listed, the file has all" if frame.height > SHOWN_ROWS else ""
    return f"{words.count(frame.height)} parts of {words.count(carts)} carts{more}."


def parts(frame: pl.DataFrame) -> str:
    """The parts of a figure, each with the cart it leads to and what it adds."""
    amounts = [name for name in frame.columns if name not in ("what", "cart_id", "user_id", "at", "version")]
    rows = [
        {
            "what": escape(row["what"]),
            "cart": cart_link(row["cart_id"], row["version"]) if row["cart_id"] else words.NOTHING,
            "user": escape(row["user_id"] or words.NOTHING),
            "at": words.moment(row["at"]),
            **{name: _value(row[name], "cents" if name.endswith("_cents") else "") for name in amounts},
        }
        for row in frame.head(SHOWN_ROWS).iter_rows(named=True)
    ]
    labels = {"what": "Part", "cart": "Cart", "user": "Shopper", "at": "When"}
    labels |= {name: words.words(name.removesuffix("_cents")) for name in amounts}
    return listing(rows, labels, name="Parts", numbers=amounts)


def key_text(value: Any) -> str:
    """One value of a key as ``cart explain`` takes it."""
    if isinstance(value, datetime):
        return rules.format_time(value)
    if isinstance(value, bytes):
        return str(UUID(bytes=value))
    return value.isoformat() if isinstance(value, date) else str(value)


def _value(value: Any, unit: str) -> str:
    if value is None:
        return words.NOTHING
    if unit == "cents":
        return words.money(value)
    if isinstance(value, datetime):
        return words.moment(value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else key_text(value)


def _interval(row: Mapping[str, Any]) -> str:
    return f"{words.change(row['rel_low'])} to {words.change(row['rel_high'])}"


def _of(part: int, whole: int, rate: float | None) -> str:
    return f'{words.share(rate)}<span class="aside">{words.count(part)} of {words.count(whole)}</span>'
