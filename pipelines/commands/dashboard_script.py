"""What Streamlit runs for ``cart dashboard``: the pages, handed the shop's folder, the clock and an explainer."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.dashboard.app import run

if TYPE_CHECKING:
    import polars as pl


def explained(store: Path, table: str, key: str, column: str | None) -> tuple[dict[str, object], pl.DataFrame]:
    """A row of a derived table and its parts. Raises what ``cart explain`` raises."""
    from pipelines.derive import explain as explaining
    from pipelines.shop import evidence_for

    told = explaining.explain(table, explaining.key_of(table, key), evidence_for(store, table), column)
    return dict(told.row), told.parts


if __name__ == "__main__":
    place = Path(os.environ["CART_STORE"])
    run(place, partial(datetime.now, UTC), partial(explained, place))
