"""Logs as one JSON object a line, on request: CART_LOG=json."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cart_core import settings
from cart_core.errors import Refused

VARIABLE = "CART_LOG"


class JsonLines(logging.Formatter):
    """A record as one line: at, level, logger, message, and the traceback of an error.

    A message that is a JSON object itself, as of the access log, is taken apart into the line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        message = record.getMessage()
        told = _object(message)
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"message": message} if told is None else told),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def as_json(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether lines are to be JSON. Raises Refused (bad_settings) where CART_LOG is neither text nor json."""
    text = environment.get(VARIABLE) or "text"
    try:
        return settings.log_form(text) == "json"
    except ValueError as error:
        raise Refused("bad_settings", f"{VARIABLE} is {text!r}, but must be {error}") from error


def formatter(environment: Mapping[str, str] = os.environ) -> logging.Formatter:
    """How records are written: as their message alone, or as JSON. Raises Refused (bad_settings)."""
    return JsonLines() if as_json(environment) else logging.Formatter("%(message)s")


def error_line(error: Exception, now: datetime, environment: Mapping[str, str] = os.environ) -> str:
    """The line that a command ends with when it fails, for people or, with CART_LOG=json, for programs."""
    message = " ".join(str(error).split())
    try:
        wanted = as_json(environment)
    except Refused:
        wanted = False
    if not wanted:
        return f"cart: {message}\n"
    line = {
        "at": now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "error",
        "logger": "cart",
        "message": message,
        "error": getattr(error, "code", None) or type(error).__name__,
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def set_up(environment: Mapping[str, str] = os.environ) -> None:
    """Let warnings and errors of every library come as JSON on standard error, where that is wanted."""
    if as_json(environment):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(capture=True)


def _object(message: str) -> dict[str, Any] | None:
    if not message.startswith("{"):
        return None
    try:
        told = json.loads(message)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
