"""What the dashboard's server is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from streamlit import config
from typer.testing import CliRunner

from cart_core.cli import app
from cart_core.errors import Refused
from cart_core.store import CartStore
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


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path):
    """Where somebody listens already, the command names the address and the option, and serves nothing."""
    CartStore.open(tmp_path).close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["--store", str(tmp_path), "dashboard", "--port", str(port)])
    assert isinstance(done.exception, Refused)
    assert done.exception.code == "cannot_listen"
    assert f"127.0.0.1:{port}" in str(done.exception)
    assert "--port" in str(done.exception)
