"""What the dashboard's server is told."""

from __future__ import annotations

import pytest
from streamlit import config

from pipelines.commands import dashboard
from pipelines.dashboard.theme import DARK, LIGHT


def test_nothing_is_told_to_anybody():
    """Telemetry and mail are off, and the server keeps to the address and port that it is given."""
    told = dashboard.options("127.0.0.1", 8600)
    assert not told["browser.gatherUsageStats"]
    assert not told["server.showEmailPrompt"]
    assert (told["server.address"], told["server.port"]) == ("127.0.0.1", 8600)


@pytest.mark.parametrize(("mode", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_day_and_night_have_the_reports_colours(mode, palette):
    """Both themes take their colours from the palette that charts and the report have."""
    told = dashboard.options("127.0.0.1", 8600)
    assert told[f"theme.{mode}.backgroundColor"] == palette.page
    assert told[f"theme.{mode}.primaryColor"] == palette.good


def test_every_setting_is_one_that_streamlit_has():
    """No setting is misspelt: each is known to the installed Streamlit."""
    assert set(dashboard.options("127.0.0.1", 8600)) <= set(config.get_config_options())
