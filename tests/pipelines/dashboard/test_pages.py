"""Each page of the dashboard tells the tables' figures, keeps to its filters, and says so where there is nothing."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cart_core.events import ItemAdded, ItemRemoved
from cart_core.evidence import check_pack
from cart_core.store import CartStore
from pipelines import files
from pipelines.dashboard import report
from pipelines.dashboard.app import PAGES
from pipelines.dashboard.pages import explorer, recovery
from pipelines.dashboard.setting import Setting
from pipelines.dashboard.source import load
from pipelines.dashboard.theme import LIGHT
from pipelines.tables import TABLES
from tests import postgres
from tests.builders import CART, envelope
from tests.pipelines.dashboard import shop_tables
from tests.pipelines.dashboard.visiting import Visit, text_of

MADE_AT = datetime(2026, 2, 1, tzinfo=UTC)
VALUES = re.compile(r'<p class="value">(.*?)</p>')


@pytest.fixture
def setting(shop_folder: Path) -> Setting:
    """What the pages of the made-up shop are handed."""
    return Setting(shop_folder, load(shop_folder / "derived"), LIGHT, lambda: MADE_AT)


@pytest.mark.parametrize("address", PAGES)
def test_every_page_has_its_title(visit: Visit, address: str):
    """A page is shown without an error, under the name that the navigation has for it."""
    page = visit(address)
    assert not page.exception
    assert f"<h1>{PAGES[address][0]}</h1>" in text_of(page)


@pytest.mark.parametrize("address", PAGES)
def test_a_shop_without_tables_is_told_what_to_do(visit: Visit, tmp_path: Path, address: str):
    """Before anything is derived every page stands, says what is missing, and draws nothing."""
    CartStore.open(tmp_path).close()
    page = visit(address, tmp_path)
    assert not page.exception
    assert "yet" in text_of(page)
    assert not page.get("arrow_vega_lite_chart")


@pytest.mark.parametrize(
    ("address", "told"), [("carts", "no event has been imported"), ("recovery", "No cart has gone silent yet")]
)
def test_a_shop_without_events_is_not_told_to_derive_again(visit: Visit, tmp_path: Path, address: str, told: str):
    """Where tables stand but nothing ever happened, a page says so."""
    CartStore.open(tmp_path).close()
    for name in ("carts", "abandonment_daily"):
        files.write_table(tmp_path / "derived", name, TABLES[name].empty())
    text = text_of(visit(address, tmp_path))
    assert told in text
    assert "refresh" not in text


@pytest.mark.parametrize("address", ["overview", "funnel", "experiments", "recovery", "coupons", "explain"])
def test_a_filter_that_is_none_is_passed_over(visit: Visit, address: str):
    """An address with a value that no filter has shows the page as if it were not there."""
    nonsense = dict.fromkeys(("days", "by", "funnel", "experiment", "left", "reason", "who", "table"), "nonsense")
    page = visit(address, **nonsense)
    assert not page.exception
    assert text_of(page) == text_of(visit(address))


def test_the_overview_and_the_report_say_the_same(visit: Visit, setting: Setting):
    """Every headline figure reads alike on the overview and in the report."""
    expected = VALUES.findall(report.render(setting.source))
    assert len(expected) == 8
    assert VALUES.findall(text_of(visit("overview"))) == expected


def test_every_headline_figure_leads_to_its_carts(visit: Visit):
    """Below each figure of the overview stands a link that explains it."""
    text = text_of(visit("overview"))
    assert text.count('href="explain?table=headline&amp;row=') == len(VALUES.findall(text))


def test_unsettled_days_are_counted(visit: Visit):
    """The overview says how many of its days may still change."""
    assert "The last 8 of 20 days may still rise." in text_of(visit("overview"))


def test_the_funnel_is_everybodys_unless_split(visit: Visit):
    """Without a split the funnel is that of everybody, with one group it is that group's."""
    assert "12.0 % of shoppers get from view to purchase" in text_of(visit("funnel"))
    monday = visit("funnel", by="Weekday")
    assert "6.0 % of shoppers get from view to purchase" in text_of(monday)
    assert monday.selectbox(key="group").options == ["Monday", "Sunday"]
    assert "Side by side: weekday" in text_of(monday)
    assert "10.8 % of shoppers" in text_of(visit("funnel", by="Weekday", group="Sunday"))


def test_an_address_chooses_as_a_visitor_does(visit: Visit):
    """A filter that the address names shows what choosing it on the page shows."""
    page = visit("funnel")
    page.selectbox(key="by").select("Weekday").run()
    assert text_of(visit("funnel", by="Weekday")) == text_of(page)


def test_an_experiment_is_told_in_words(visit: Visit):
    """The verdict, the split, and raw beside adjusted effects stand on the page."""
    text = text_of(visit("experiments"))
    assert "B raises conversion by 8.1 %." in text
    assert "There is only one arm" in text or "nothing speaks against it" in text
    assert {"+8.1 %", "+7.9 %"} <= set(re.findall(r"[+]\d\.\d %", text))


def test_a_split_that_went_wrong_is_told_first(visit: Visit, tmp_path: Path):
    """Where arms do not have the planned sizes, the page says not to use the effects."""
    CartStore.open(tmp_path).close()
    split = shop_tables.experiment_srm(alarm=True).with_columns(p_value=pl.lit(0.00001))
    shop_tables.folder_of(tmp_path / "derived", experiment_srm=split)
    text = text_of(visit("experiments", tmp_path))
    assert 'class="verdict alarm"' in text
    assert "a split as uneven as this has p = &lt; 0.001" in text


def test_candidates_are_chosen_by_reason(setting: Setting):
    """The eligible stand by rank, everyone by expected value, and the others by their reason."""
    assert recovery.candidates(setting, "")["rank"].to_list() == [1, 2]
    assert recovery.candidates(setting, None).height == 3
    assert recovery.candidates(setting, "no_consent")["reasons"].to_list() == [["no_consent"]]
    assert recovery.candidates(setting, "holdout").is_empty()


def test_every_reason_stands_with_its_cart(visit: Visit):
    """Carts that are left alone are listed with why, and lead to the cart explorer."""
    text = text_of(visit("recovery", who="Left alone: no consent"))
    assert '<span class="pill warn">No consent</span>' in text
    assert 'href="carts?cart=7f9c24e5-2f0b-4c1e-9d3a-000000000000"' in text


def test_the_lift_stands_with_its_interval(visit: Visit):
    """What writing brings is told against the holdout, never without its interval."""
    text = text_of(visit("recovery"))
    assert "30.0 % of those who could be written to bought, against 20.0 % in the holdout" in text
    assert "30 of 100" in text


def test_a_cart_is_found_by_order_and_by_shopper(setting: Setting):
    """An order or a shopper leads to the cart; anything else to none."""
    assert explorer.carts_like(setting, "order-7")["cart_id"].to_list() == [CART]
    assert explorer.carts_like(setting, "u1")["cart_id"].to_list() == [CART]
    assert explorer.carts_like(setting, "")["cart_id"].to_list() == [CART]
    assert explorer.carts_like(setting, "somebody").is_empty()


def test_a_cart_is_shown_as_of_a_moment(visit: Visit):
    """The version in the address is the moment that is shown: lines, prices then and now, and totals."""
    text = text_of(visit("carts", cart=CART, version="5"))
    assert "10.00 USD dearer" in text
    assert "total 70.20 USD" in text
    assert "The cart is empty at this moment." in text_of(visit("carts", cart=CART))


def test_what_was_undone_is_marked(visit: Visit):
    """The event that an undo wrote says so, and no other does."""
    text = text_of(visit("carts", cart=CART))
    assert text.count('<span class="pill warn">undo</span>') == 1
    assert "Mug from 5 to 2" in text


def test_an_unknown_cart_is_told_so(visit: Visit):
    """A search that finds nothing says what was sought."""
    unknown = "00000000-0000-4000-8000-00000000ffff"
    assert f"There is no cart, order or shopper &#x27;{unknown}&#x27;." in text_of(visit("carts", cart=unknown))


def test_the_evidence_holds(setting: Setting, tmp_path: Path):
    """The evidence that a visitor takes away proves itself, event by event."""
    with zipfile.ZipFile(io.BytesIO(explorer.evidence(setting, CART))) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / f"evidence-{CART}"
    assert check_pack(folder) == []
    assert len(list((folder / "proofs").iterdir())) == 6
    assert json.loads((folder / "evidence.json").read_text())["madeAt"] == "2026-02-01T00:00:00Z"


def test_events_without_a_proof_are_told_beside_the_evidence(visit: Visit, tmp_path: Path):
    """Before a visitor takes the evidence away, the page says how many events it cannot prove yet, and what to do."""
    with CartStore.open(tmp_path) as store:
        store.append_many([envelope(ItemAdded("mug", "Mug", 2, 2900, "USD"), 1)])
        assert "Not sealed yet: 1 of 1 events" in text_of(visit("carts", tmp_path, cart=CART))
        store.seal()
        assert "Not sealed yet" not in text_of(visit("carts", tmp_path, cart=CART))
        store.append_many([envelope(ItemRemoved("mug"), 2)])
    text = text_of(visit("carts", tmp_path, cart=CART))
    assert "Not sealed yet: 1 of 2 events" in text
    assert "cart seal" in text


@pytest.mark.postgres
def test_a_cart_of_a_shared_catalog_is_shown(visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the settings put the catalog into PostgreSQL, the explorer shows the carts of that store."""
    address = postgres.server().fresh()
    with CartStore.open(tmp_path, catalog=address) as store:
        store.append_many([envelope(ItemAdded("mug", "Mug", 2, 2900, "USD"), 1)])
    monkeypatch.setenv("CART_CATALOG", address)
    assert "2 \N{MULTIPLICATION SIGN} Mug at 29.00 USD" in text_of(visit("carts", tmp_path, cart=CART))


def test_a_check_that_fails_is_told_first(visit: Visit, tmp_path: Path):
    """Checks that do not hold stand above those that do, with how many rows break them."""
    CartStore.open(tmp_path).close()
    derived = shop_tables.folder_of(tmp_path / "derived")
    for name, rows in (("a_holds", 0), ("b_fails", 3)):
        files.note_check(derived, "carts", name, f"Rule {name}.", rows, MADE_AT)
    text = text_of(visit("health", tmp_path))
    assert "1 of 2 checks do not hold" in text
    assert "3 rows break it" in text
    assert text.index("Rule b_fails.") < text.index("Rule a_holds.")


def test_rows_set_aside_are_told_with_their_reason(visit: Visit, tmp_path: Path):
    """What an import could not take stands with file, line, what is wrong, and its text as text."""
    CartStore.open(tmp_path).close()
    problem = {"field": "quantity", "value": 0, "rule": "a whole number above 0"}
    row = {"file": "old.jsonl", "row": 7, "reason": "bad_quantity", "problems": [problem], "raw": "<b>raw</b>"}
    (tmp_path / "set_aside").mkdir()
    (tmp_path / "set_aside" / "old.jsonl.jsonl").write_text(json.dumps(row) + "\n" + '{"torn')
    text = text_of(visit("health", tmp_path))
    assert "1 rows could not be imported; each is kept." in text
    assert "quantity is 0, but must be a whole number above 0" in text
    assert "&lt;b&gt;raw&lt;/b&gt;" in text


def test_a_figure_is_taken_apart(visit: Visit):
    """The row that the address names is explained, and each part leads to its cart."""
    text = text_of(visit("explain", table="headline", row="orders", figure="value"))
    assert "Carts that were checked out." in text
    assert "2 parts of 2 carts." in text
    assert "cart value" in text
    assert 'href="carts?cart=7f9c24e5-2f0b-4c1e-9d3a-000000000001&amp;version=1"' in text


@pytest.mark.parametrize(
    ("places", "expected"), [([], []), ([0, 1, 2], [(0, 3)]), ([5, 1, 2, 0, 3], [(5, 1), (1, 2), (0, 1), (3, 1)])]
)
def test_neighbours_are_read_at_once(places: list[int], expected: list[tuple[int, int]]):
    """Rows that lie side by side are one reading, and the order stays."""
    assert recovery.runs(places) == expected
