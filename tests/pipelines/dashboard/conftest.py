"""A made-up shop on disk, and a way to visit a page of its dashboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cart_core.events import CouponApplied, ItemAdded, ItemRemoved, PriceUpdated, QuantityChanged
from cart_core.store import CartStore
from tests.builders import CART, envelope
from tests.pipelines.dashboard import shop_tables
from tests.pipelines.dashboard.visiting import Visit

TIMEOUT_S = 120


def page_script(store: str, address: str) -> None:
    """What Streamlit runs for one page: imports stand inside, as only this function's text is taken."""
    from datetime import UTC, datetime  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from pipelines.dashboard.app import PAGES  # noqa: PLC0415
    from pipelines.dashboard.setting import Setting  # noqa: PLC0415
    from pipelines.dashboard.source import load  # noqa: PLC0415
    from pipelines.dashboard.theme import LIGHT  # noqa: PLC0415
    from tests.pipelines.dashboard.shop_tables import parts_of  # noqa: PLC0415

    made_at = datetime(2026, 2, 1, tzinfo=UTC)
    setting = Setting(Path(store), load(Path(store) / "derived"), LIGHT, lambda: made_at, parts_of)
    PAGES[address][1](setting)


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose tables are known by heart, and one cart in whose life something was undone."""
    folder = tmp_path_factory.mktemp("shop")
    undone = {"undoes": "some-command", "command_id": "undo-1"}
    with CartStore.open(folder) as store:
        store.append_many(
            [
                envelope(ItemAdded("mug", "Mug", 2, 2900, "USD"), 1),
                envelope(PriceUpdated("mug", 2900, 3900, "catalogue"), 2),
                envelope(QuantityChanged("mug", 2, 5), 3),
                envelope(QuantityChanged("mug", 5, 2), 4, metadata=undone),
                envelope(CouponApplied("WINTER10", "percentage", 10.0), 5),
                envelope(ItemRemoved("mug"), 6),
            ]
        )
        store.seal()
    shop_tables.folder_of(folder / "derived", carts=shop_tables.one_cart(CART))
    return folder


@pytest.fixture
def visit(shop_folder: Path) -> Visit:
    """Visit a page at an address, with the filters that the address names, in this shop or another."""

    def visited(address: str, folder: Path = shop_folder, **filters: str) -> AppTest:
        page = AppTest.from_function(page_script, args=(str(folder), address), default_timeout=TIMEOUT_S)
        for name, value in filters.items():
            page.query_params[name] = value
        return page.run()

    return visited
