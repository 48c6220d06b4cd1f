"""Logs as JSON, where somebody asks for it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cart_core import logs
from cart_core.errors import ConcurrencyError, Refused
from tests.conftest import REPOSITORY

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    """A warning of a library at noon."""
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("lib", logging.WARNING, "lib.py", 1, message, arguments, info)
    made.created = NOW.timestamp()
    return made


def test_a_record_is_one_line_of_json():
    """With its moment, level and logger."""
    assert json.loads(logs.JsonLines().format(record("low on %s", "dïsk"))) == {
        "at": "2026-01-31T12:00:00.000Z",
        "level": "warning",
        "logger": "lib",
        "message": "low on dïsk",
    }


def test_a_message_that_is_an_object_is_taken_apart():
    """As those of the access log, which is JSON anyway."""
    line = json.loads(logs.JsonLines().format(record('{"status": 200, "ms": 1.5}')))
    assert (line["status"], line["ms"], line["level"]) == (200, 1.5, "warning")
    assert "message" not in line
    assert json.loads(logs.JsonLines().format(record("{broken")))["message"] == "{broken"


def test_an_error_brings_its_traceback_in_the_same_line():
    """So that a collector does not see one event as thirty."""
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("no way")
    text = logs.JsonLines().format(record("failed", error=raised.value))
    assert "\n" not in text
    assert "in test_an_error_brings" in json.loads(text)["traceback"]


def test_a_command_that_fails_says_so_in_one_line_of_either_form():
    """The code of a refusal, or the kind of the error, is there for programs."""
    refused = Refused("not_empty", "the folder\nis full")
    assert logs.error_line(refused, NOW, {}) == "cart: the folder is full\n"
    line = json.loads(logs.error_line(refused, NOW, {"CART_LOG": "json"}))
    assert line == {
        "at": "2026-01-31T12:00:00.000Z",
        "level": "error",
        "logger": "cart",
        "message": "the folder is full",
        "error": "not_empty",
    }
    conflict = json.loads(logs.error_line(ConcurrencyError("c", 1, 2), NOW, {"CART_LOG": "json"}))
    assert conflict["error"] == "ConcurrencyError"


def test_another_form_is_refused():
    """By name."""
    with pytest.raises(Refused, match="CART_LOG is 'xml', but must be text or json"):
        logs.formatter({"CART_LOG": "xml"})


@pytest.mark.parametrize("form", ["json", "text", "xml"])
def test_the_cart_command_keeps_to_it(form: str, tmp_path: Path):
    """Exit 1, and one line on standard error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CART_", "OTEL_"))}
    command = [sys.executable, "-c", "from cart_core.cli import main; main()", "--store", str(tmp_path / "x"), "status"]
    done = subprocess.run(
        command, env=own | {"CART_LOG": form}, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    if form == "json":
        assert json.loads(done.stderr)["error"] == "StoreNotFound"
    else:
        assert done.stderr.startswith("cart: ")
