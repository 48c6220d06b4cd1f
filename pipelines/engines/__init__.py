"""Where the fold of all carts runs: on this machine, or on Spark. Whichever does, the rows are the same."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from cart_core.errors import Refused
from cart_core.projector.kept import Refreshed
from cart_core.projector.streaming import NOW, Moment, Projected
from cart_core.store import CartStore

NAMES = ("local", "spark")


class Engine(Protocol):
    """A place to fold all carts in."""

    def project(
        self, store: CartStore, out: Path, moment: Moment = NOW, *, tell: Callable[[int], None] | None = None
    ) -> Projected:
        """Write every cart to ``out``/carts.parquet and every line to ``out``/lines.parquet, as of any moment.

        ``tell`` is called with the count of events folded so far. Each table is replaced in one step.
        """

    def refresh(self, store: CartStore, folder: Path, until: int | None = None) -> Refreshed:
        """Bring the tables kept in ``folder`` up to date, from new events alone where that can be; see ``kept``."""


def engine(name: str) -> Engine:
    """The engine of a name: ``local`` or ``spark``. Raises Refused for another, or where it is not installed."""
    if name not in NAMES:
        raise Refused("unknown_engine", f"there is no engine {name!r}; there are {', '.join(NAMES)}", engine=name)
    try:
        return cast("Engine", import_module(f"pipelines.engines.{name}"))
    except ModuleNotFoundError as error:
        hint = f"install it with: pip install 'cart-workbench[{name}]'"
        raise Refused("engine_missing", f"engine {name} needs {error.name}: {hint}", engine=name) from error
