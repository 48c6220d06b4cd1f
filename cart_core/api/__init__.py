"""HTTP doors to carts: request and response shapes, errors as statuses; no rule of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cart_core.api.settings import Settings, Trust, trust_from

if TYPE_CHECKING:
    from cart_core.api.app import create_app

__all__ = ["Settings", "Trust", "create_app", "trust_from"]


def __getattr__(name: str) -> object:
    """Load FastAPI when an application is made, so that the ``cart`` command starts without it."""
    if name == "create_app":
        from cart_core.api.app import create_app  # noqa: PLC0415 - the reason stands above

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
