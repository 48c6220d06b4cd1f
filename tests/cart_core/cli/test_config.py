"""cart config: each setting, its value, and where it came from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

SECRET = "a-secret-of-more-than-thirty-two-bytes"


def config(*arguments: str, **environment: str) -> str:
    """What ``cart config`` writes in an environment without other settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CART_", "OTEL_", "AWS_"))}
    command = [sys.executable, "-c", "from cart_core.cli import main; main()", *arguments]
    done = subprocess.run(
        command, env=own | environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_each_setting_says_where_it_came_from(tmp_path: Path):
    """Option, environment, settings file and default, side by side."""
    (tmp_path / "store.toml").write_text('segments = "s3://bucket/shop"\n')
    told = config("--store", str(tmp_path), "config", "--json", CART_LOG="json", CART_JWT_SECRET=SECRET)
    found = {each["name"]: (each["value"], each["source"]) for each in json.loads(told)["settings"]}
    assert found["store"] == (str(tmp_path), "option")
    assert found["segments"] == ("s3://bucket/shop", "settings file")
    assert found["log"] == ("json", "environment")
    assert found["jwt_secret"] == ("***", "environment")
    assert found["segment_cache"] == ("20GiB", "default")


def test_people_get_a_table_and_a_word_about_what_is_mistyped(tmp_path: Path):
    """No secret in it."""
    told = config("config", CART_STORE=str(tmp_path), CART_CATALOG=f"postgresql://me:{SECRET}@h/db", CART_STOER="x")
    assert ["store", str(tmp_path), "environment", "CART_STORE"] in [line.split() for line in told.splitlines()]
    assert "postgresql://me:***@h/db" in told
    assert SECRET not in told
    assert "CART_STOER is set, but is no setting of this program" in told
