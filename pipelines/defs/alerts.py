"""What happens when a step fails: a line in the shop's alerts file, and a message to a webhook where one is set."""

from __future__ import annotations

import json
import os
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from cart_core import rules
from pipelines.defs.shop import Shop

WEBHOOK_VARIABLE = "CART_ALERT_URL"
WEBHOOK_TIMEOUT_S = 10
ALERTS_FILE = "alerts.jsonl"


class Alerts(dg.ConfigurableResource["Alerts"]):
    """Where failures are told."""

    webhook: str = Field(default="", description=f"A URL that takes a JSON POST; empty means ${WEBHOOK_VARIABLE}.")

    def tell(self, folder: Path, alert: dict[str, Any]) -> str | None:
        """Append one line to ``<folder>/alerts.jsonl`` and post it; returns why the post failed, if it did.

        Telling never raises for the webhook: the failure it reports must not be hidden by another one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ALERTS_FILE).open("a", encoding="utf-8") as sink:
            sink.write(json.dumps(alert, ensure_ascii=False) + "\n")
        url = self.webhook or os.environ.get(WEBHOOK_VARIABLE, "")
        return _post(url, alert) if url else None


@dg.failure_hook(name="alert", required_resource_keys={"shop", "alerts"})
def alert_on_failure(context: dg.HookContext) -> None:
    """Tell which step of which run failed, and why."""
    shop: Shop = context.resources.shop
    problem = context.resources.alerts.tell(
        shop.folder,
        {
            "at": rules.format_time(datetime.now(UTC)),
            "run": context.run_id,
            "job": context.job_name,
            "step": context.step_key,
            "error": _first_cause(context.op_exception),
        },
    )
    if problem:
        context.log.warning(problem)


def _first_cause(error: BaseException | None) -> str:
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _post(url: str, alert: dict[str, Any]) -> str | None:
    if not url.startswith(("http://", "https://")):
        return f"the alert could not be posted: {url!r} is no http or https URL"
    body = json.dumps(alert).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):  # noqa: S310 - checked above
            return None
    except OSError as error:
        return f"the alert could not be posted to {url}: {error}"
