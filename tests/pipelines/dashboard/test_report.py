"""The report tells the tables' figures, stands alone, and never shows what may still change as if it were settled."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import polars as pl
import pytest

from pipelines.dashboard import definitions, report, sections
from pipelines.dashboard.source import Source
from pipelines.derive.recovery_policy import REASONS
from pipelines.files import write_table
from pipelines.tables import TABLES
from tests.pipelines.dashboard import shop_tables
from tests.pipelines.dashboard.shop_tables import candidate, candidates, shop

VOID = {"meta", "br", "link", "img", "hr", "input"}
MEGABYTE = 1_000_000


class Page(HTMLParser):
    """A page's elements and text, and whether every element is closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """An element opens."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An element opens and closes."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """An element closes: it must be the one opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Text, other than style."""
        if self.open and self.open[-1] != "style":
            self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    """The report of the whole made-up shop."""
    return report.render(shop())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """The same, taken apart."""
    return Page(html)


def test_stands_alone(html: str, page: Page):
    """The report needs no script, no network and less than a megabyte."""
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"|url\((?!#)[^)]*\)|@import", html) == []
    assert len(html.encode()) < MEGABYTE


def test_is_well_formed(page: Page):
    """Every element is closed, and no id stands twice, not even inside the drawings."""
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert page.open == []
    assert [name for name, times in ids.items() if times > 1] == []


def test_drawings_refer_to_their_own_parts(html: str, page: Page):
    """What a drawing refers to is in the page."""
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= ids


def test_drawings_are_read_out(page: Page):
    """Each drawing is an image with a label that a screen reader tells."""
    drawings = [each for each in page.all("svg") if each.get("class") == "drawing"]
    assert len(drawings) == 12
    assert all(each["role"] == "img" and each["aria-label"] for each in drawings)


def test_tables_have_headers(page: Page):
    """Every column of every table has a header cell that says so."""
    assert page.all("th")
    assert all(each["scope"] == "col" for each in page.all("th"))
    assert all(each["headers"] for each in page.all("td"))


@pytest.mark.parametrize(
    "told",
    [
        "1,000",
        "33.3 %",
        "300 of 900",
        "15.0 %",
        "4,123 USD",
        "543.21 USD",
        "12.0 % of shoppers get from view to purchase",
        "The steepest drop is from view to add: 60.0 % do not take that step.",
        "Of 600 silences that are decided, 15.0 % ended in a checkout.",
        "40 of 84 silent carts may be written about",
        "2 × Linen shirt",  # noqa: RUF001 - the sign that the page shows
        "25.0 % likely",
        "13:30, 31 Jan 2026",
        "Europe/Berlin",
        "Did not agree to be written to.",
        "Coupons expired in 210 carts",
        "B raises conversion by 8.1 %.",
        "Derived from 1,234,567 events, as of 31 Jan 2026, 09:30 UTC.",
    ],
)
def test_tells_the_tables_figures(page: Page, told: str):
    """Figures, findings, candidates with reasons, and freshness stand in the text as the tables have them."""
    assert told in re.sub(r"\s+", " ", page.text)


def test_every_headline_figure_has_its_definition(html: str):
    """What a headline figure means is one click away from it."""
    tiles = re.findall(r'<div class="figure">(.*?</details>)</div>', html)
    assert len(tiles) == 8
    assert all("<summary>Definition</summary>" in tile for tile in tiles)


def test_immature_days_look_immature():
    """Days whose window is open are drawn dashed, and not at all so once every day is settled."""
    pending = sections.trend(shop(funnel_daily=shop_tables.funnel_daily(immature=3)))
    settled = sections.trend(shop(funnel_daily=shop_tables.funnel_daily(immature=0)))
    assert "The last 3 days may still rise" in pending
    assert "stroke-dasharray" in pending
    assert "All days are settled." in settled
    assert "stroke-dasharray" not in settled


def test_names_cannot_inject_markup():
    """A product, coupon or shopper whose name is markup is shown as text."""
    hostile = "<script>alert(1)</script>"
    line = {"product_id": "p", "product_name": hostile, "quantity": 1}
    coupon = {"code": hostile, "state": "expiring", "ends_at": shop_tables.AS_OF}
    html = sections.recovery(shop(recovery_candidates=candidates(candidate(1, lines=[line], coupons=[coupon]))))
    assert hostile not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_a_shopper_who_was_forgotten_is_shown_as_such():
    """A candidate without a user has no name, and breaks nothing."""
    html = sections.recovery(shop(recovery_candidates=candidates(candidate(1, user_id=None, time_zone=None))))
    assert "<b>forgotten</b>" in html


def test_only_the_eligible_are_listed(page: Page):
    """A shopper who may not be written to is counted with the reason, not listed."""
    assert "shopper-1" in page.text
    assert "shopper-None" not in page.text


def test_a_split_that_went_wrong_raises_an_alarm(html: str):
    """When arms do not have the planned sizes, the verdict is marked."""
    assert 'class="verdict"' in html
    assert 'class="verdict alarm"' in sections.experiments(shop(experiment_srm=shop_tables.experiment_srm(alarm=True)))


def test_every_reason_is_explained():
    """Each reason for which a candidate may be left alone has words on the page."""
    assert set(REASONS) == set(definitions.REASONS)


def test_the_adjusted_effect_is_the_one_drawn(html: str):
    """Where a metric has both, the effect with less noise is shown, once."""
    assert "Conversion +8.1 %" in html
    assert "Conversion +7.9 %" not in html


@pytest.mark.parametrize(
    ("table", "section"),
    [
        ("funnel_steps", sections.funnel),
        ("funnel_daily", sections.trend),
        ("abandonment_daily", sections.abandonment),
        ("headline", sections.recovery),
        ("headline", sections.figures),
        ("coupon_effects", sections.coupons),
        ("experiment_results", sections.experiments),
    ],
)
def test_a_section_without_its_table_is_left_out(html: str, table: str, section):
    """What was never derived leaves no empty section behind."""
    assert section(shop(**{table: None})) == ""
    assert html.count("<section ") == 8


def test_tables_without_rows_make_a_report():
    """A shop that has seen nothing yet has a report, too."""
    empty = Source({name: table.empty() for name, table in TABLES.items()}, dict.fromkeys(TABLES, shop_tables.NOTES))
    assert Page(report.render(empty)).open == []


def test_the_same_tables_make_the_same_bytes(html: str):
    """Nothing in the report depends on when it is made."""
    assert report.render(shop()) == html


def test_is_written_whole_beside_the_tables(tmp_path):
    """The report of a folder of tables stands in it, without a stray file, and tells each table's freshness."""
    steps = shop_tables.funnel_steps().with_columns(skipped=pl.lit(0, pl.Int64), mature=True)
    write_table(tmp_path, "funnel_steps", steps, shop_tables.NOTES)
    path = report.write(tmp_path)
    assert path == tmp_path / "report.html"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["funnel_steps.parquet", "report.html"]
    assert "<code>funnel_steps</code>" in path.read_text()
