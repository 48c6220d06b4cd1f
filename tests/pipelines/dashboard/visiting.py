"""What a visit to a page of the dashboard gives, and what the page says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from streamlit.testing.v1 import AppTest

Visit: TypeAlias = Callable[..., AppTest]


def text_of(page: AppTest) -> str:
    """Everything that a page says in HTML."""
    return "\n".join(str(each.value) for each in page.html)


def charts_of(page: AppTest) -> list[str]:
    """The ids of the charts of a page."""
    return [each.proto.id.rsplit("chart-", 1)[-1] for each in page.get("arrow_vega_lite_chart")]
