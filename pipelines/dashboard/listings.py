"""The tables of the report and the dashboard, as HTML that the page's style sheet dresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from great_tables import GT

from pipelines.dashboard import words

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_TABLE = re.compile(r"<table.*</table>", re.DOTALL)
_CANDIDATE_ROWS = 12
_NAMES_SHOWN = 3
_CARD_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a listing: what its header says, what a row's cell is as HTML, and whether it is set right."""

    label: str
    cell: Callable[[Any], str]
    number: bool = False


def number(label: str, cell: Callable[[Any], str]) -> Column:
    """A column that holds numbers, or what is read like one."""
    return Column(label, cell, number=True)


SILENT_FOR = Column(
    "Silent for",
    lambda row: (
        f'{words.span(row["hours_since"] * words.HOUR_S)}<span class="aside">in the {escape(row["stage"])}</span>'
    ),
)
"""How long a cart has been silent, and how far it had come."""


def listed(name: str, rows: Iterable[Any], columns: Mapping[str, Column]) -> str:
    """Rows of any kind as a table, a cell for each column; as ``listing``."""
    return listing(
        [{key: column.cell(row) for key, column in columns.items()} for row in rows],
        {key: column.label for key, column in columns.items()},
        name=name,
        numbers=[key for key, column in columns.items() if column.number],
    )


def listing(
    rows: Sequence[Mapping[str, str]], labels: Mapping[str, str], *, name: str, numbers: Sequence[str] = ()
) -> str:
    """Rows of ready HTML cells as a table with a header cell per column; ``numbers`` are set right.

    ``labels`` gives the columns in order and what their headers say; ``name`` is what a screen reader calls it.
    """
    frame = pl.DataFrame(
        [{column: row[column] for column in labels} for row in rows], schema=dict.fromkeys(labels, pl.String)
    )
    built: Any = GT(frame, id=re.sub(r"\W+", "-", name.lower())).cols_label(dict(labels)).fmt(_inner)
    texts = [column for column in labels if column not in numbers]
    built = built.cols_align("right", list(numbers)).cols_align("left", texts)
    html = _TABLE.search(_STYLE.sub("", built.as_raw_html()))
    table = _labelled(html.group() if html else "", labels)
    kind = "scroll cards" if len(labels) > _CARD_COLUMNS else "scroll"
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(name, quote=True)}">{table}</div>'


def _inner(cell: str) -> str:
    return f"<span>{cell}</span>"


def _labelled(table: str, labels: Mapping[str, str]) -> str:
    """Each cell told its header, for narrow windows where a row becomes a card; roles keep it a table to readers."""

    def cell(found: re.Match[str]) -> str:
        label = labels.get(found.group(1), "")
        return f'<td role="cell" data-label="{escape(label, quote=True)}" headers="{found.group(0).split(chr(34))[1]}"'

    named = re.sub(r'<td headers="[^"]*?-(\w+)"', cell, table)
    roles = {"<table": "table", "<thead": "rowgroup", "<tbody": "rowgroup", "<tr": "row", "<th": "columnheader"}
    for tag, role in roles.items():
        named = re.sub(rf"{tag}(?=[ >])", f'{tag} role="{role}"', named)
    return named


def steps(frame: pl.DataFrame) -> str:
    """Each step of a funnel: who came, who went on, and how long it took."""
    return listed(
        "Funnel steps",
        frame.sort("step_index").iter_rows(named=True),
        {
            "step": Column("Step", lambda row: escape(words.words(row["step"]))),
            "entered": number("Came this far", lambda row: words.count(row["entered"])),
            "converted": number("Went on", lambda row: words.count(row["converted"])),
            "step_rate": number("Of those", lambda row: words.share(row["step_rate"])),
            "rate": number("Of all", lambda row: words.share(row["rate"])),
            "median": number("Half within", lambda row: words.span(row["median_s"])),
            "p90": number("90 % within", lambda row: words.span(row["p90_s"])),
        },
    )


def candidates(frame: pl.DataFrame) -> str:
    """The eligible candidates with the highest expected value: whom to write to, about what, and when."""
    best = frame.filter("eligible").sort("rank").head(_CANDIDATE_ROWS)
    return listed(
        "Recovery candidates",
        best.iter_rows(named=True),
        {
            "rank": number("#", lambda row: str(row["rank"])),
            "who": Column(
                "Shopper",
                lambda row: (
                    f"<b>{escape(words.short_id(row['user_id'] or 'forgotten', 14))}</b> "
                    f'<span class="aside">cart {escape(words.short_id(row["cart_id"]))}</span>'
                ),
            ),
            "what": Column("What is in the cart", contents),
            "value": number("Value", lambda row: words.money(row["value_cents"], row["currency"])),
            "expected": number(
                "Expected",
                lambda row: (
                    f"<b>{words.money(row['expected_value_cents'])}</b> "
                    f'<span class="aside">{words.share(row["recover_p"])} likely</span>'
                ),
            ),
            "since": SILENT_FOR,
            "send": Column("Send after", send_after),
        },
    )


def counts(pairs: Sequence[tuple[str, str, str]], headers: tuple[str, str], *, name: str) -> str:
    """Names with a number each, and what the name means below it."""
    rows = [
        {"what": f'{escape(what)}<span class="aside">{escape(meaning)}</span>', "number": number}
        for what, number, meaning in pairs
    ]
    return listing(rows, {"what": headers[0], "number": headers[1]}, name=name, numbers=("number",))


def coupons(frame: pl.DataFrame) -> str:
    """What shoppers took out after a coupon left, against the window before and against carts that kept theirs."""
    return listed(
        "Coupons that left a cart",
        frame.sort("removals", descending=True).head(_CANDIDATE_ROWS).iter_rows(named=True),
        {
            "coupon": Column("Coupon", lambda row: f"<b>{escape(row['coupon_code'])}</b>"),
            "why": Column("Left because", lambda row: escape(words.words(row["reason"]))),
            "removals": number("Times", lambda row: words.count(row["removals"])),
            "after": number("Items removed after", lambda row: _rate(row["rate_after"])),
            "before": number("Before", lambda row: _rate(row["rate_before"])),
            "control": number("Elsewhere", lambda row: _rate(row["rate_control"])),
            "value": number("Value removed", lambda row: words.money(row["value_removed_cents"], row["currency"])),
            "stake": number("Value at stake", lambda row: words.money(row["value_at_stake_cents"], row["currency"])),
        },
    )


def arms(frame: pl.DataFrame) -> str:
    """How an experiment's users were split, against the plan."""
    return listed(
        "Experiment arms",
        frame.iter_rows(named=True),
        {
            "arm": Column("Arm", lambda row: escape(row["arm"])),
            "planned": number("Planned", lambda row: words.share(row["weight"])),
            "expected": number("Expected users", lambda row: words.count(row["expected"])),
            "observed": number("Users", lambda row: words.count(row["observed"])),
            "multiple": number("Left out: saw two arms", lambda row: words.count(row["multiple_users"])),
        },
    )


def freshness(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every derived table with its rows, the moment it is as of, and the last event it has read."""
    return listed(
        "Data freshness",
        rows,
        {
            "table": Column("Table", lambda row: f"<code>{escape(row['table'])}</code>"),
            "rows": number("Rows", lambda row: words.count(row["rows"])),
            "as_of": Column("As of", lambda row: words.moment(row["as_of"])),
            "position": number("Events read", lambda row: words.count(row["position"])),
        },
    )


def contents(candidate: Mapping[str, Any]) -> str:
    """What lies in a candidate's cart: the first products, and what became cheaper or ends soon."""
    lines = [
        f"{line['quantity']} {words.TIMES} {escape(line['product_name'] or line['product_id'])}"
        for line in candidate["lines"][:_NAMES_SHOWN]
    ]
    more = len(candidate["lines"]) - _NAMES_SHOWN
    told = ", ".join(lines) + (f" and {more} more" if more > 0 else "")
    pills = [*_price_news(candidate), *_coupon_news(candidate)]
    return told + (f"<br>{' '.join(pills)}" if pills else "")


def _price_news(candidate: Mapping[str, Any]) -> list[str]:
    drop = candidate["price_drop_cents"]
    return (
        [f'<span class="pill good">{words.money(drop, candidate["currency"])} cheaper now</span>'] if drop > 0 else []
    )


def _coupon_news(candidate: Mapping[str, Any]) -> list[str]:
    ending = [coupon for coupon in candidate["coupons"] if coupon["state"] == "expiring"]
    return [
        f'<span class="pill warn">{escape(each["code"])} ends {words.clock(each["ends_at"])}</span>' for each in ending
    ]


def send_after(candidate: Mapping[str, Any]) -> str:
    """The first moment outside of quiet hours, by the shopper's own clock; without a zone, in UTC."""
    at, zone = candidate["send_after"], candidate["time_zone"]
    if at is None:
        return words.NOTHING
    local = at.astimezone(ZoneInfo(zone)) if zone else at
    return f'{words.clock(local)}<span class="aside">{escape(zone or "UTC")}</span>'


def _rate(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.2f}"
