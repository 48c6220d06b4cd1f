"""What every test may count on: repeatable draws, a clock that is told the time, and real data where there is any."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# The same draws on every machine, however slow it is; `HYPOTHESIS_PROFILE=search` looks for new ones.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("search", parent=settings.get_profile("ci"), derandomize=False, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


MAIN = sys.modules["__main__"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Children start from the real main module, whatever a test of Streamlit's pages put in its place."""
    sys.modules["__main__"] = MAIN


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The moment it shows."""
        return self.now

    def advance(self, **duration: float) -> datetime:
        """Move on by a duration such as ``minutes=5`` and give the new moment."""
        self.now += timedelta(**duration)
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that shows noon of 2026-01-01, UTC, and moves by ``clock.advance(minutes=5)`` alone."""
    return Clock(datetime(2026, 1, 1, 12, tzinfo=UTC))


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    """Servers that tests started are stopped at the end of the run."""
    yield
    postgres.stop()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clickstream slices, which are no part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real clickstream slices are not here: {SHARED_DATA} is missing")
    return SHARED_DATA
