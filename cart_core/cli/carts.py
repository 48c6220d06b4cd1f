"""Commands that change carts: undo, redo, reprice, expire-coupons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cart_core.cli import output
from cart_core.cli.events import Cart, known
from cart_core.cli.output import AsJson, session

if TYPE_CHECKING:
    from cart_core.service import CartService, Changed


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("undo")(undo)
    app.command("redo")(redo)
    app.command("reprice")(reprice)
    app.command("expire-coupons")(expire_coupons)


def undo(context: typer.Context, cart: Cart, as_json: AsJson = False) -> None:
    """Take back the shopper's last command; repeated, it walks further back."""
    from cart_core.service import SHOP, Ask, Undo

    with _service(context, cart) as service:
        answer = service.ask(Ask(cart, Undo(), SHOP))
    _tell("undone", answer.notes["undone"], answer.version, as_json=as_json)


def redo(context: typer.Context, cart: Cart, as_json: AsJson = False) -> None:
    """Carry out again what was taken back last."""
    from cart_core.service import SHOP, Ask, Redo

    with _service(context, cart) as service:
        answer = service.ask(Ask(cart, Redo(), SHOP))
    _tell("redone", answer.notes["redone"], answer.version, as_json=as_json)


def reprice(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .parquet or .csv of product_id, price_cents, currency, reason?.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tell every open cart that holds a product whose price changed; safe beside busy shoppers."""
    from cart_core.service import carry_out, price_asks, read_prices

    prices = read_prices(file)
    with _service(context) as service:
        changed = carry_out(service.ask_all, price_asks(service.store, prices))
    _tell_changed(changed, "prices changed", as_json=as_json)


def expire_coupons(
    context: typer.Context,
    as_of: Annotated[str, typer.Option(metavar="TIME", help="The moment (RFC 3339) at which coupons are past.")],
    coupons: Annotated[
        Path | None,
        typer.Option(help="A .parquet of code and ends_at; the store's inputs/coupons.parquet if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take coupons that are past their end off every open cart; safe beside busy shoppers."""
    from cart_core.service import carry_out, expiry_asks, read_coupon_ends

    moment = output.moment(as_of)
    ends = read_coupon_ends(coupons or session(context).path / "inputs" / "coupons.parquet")
    with _service(context) as service:
        changed = carry_out(service.ask_all, expiry_asks(service.store, ends, moment)) if moment else None
    _tell_changed(changed, "coupons taken off", as_json=as_json)


@contextmanager
def _service(context: typer.Context, cart: str | None = None) -> Iterator[CartService]:
    from cart_core.service import CartService

    with session(context).store() as store:
        if cart is not None:
            known(store, cart)
        yield CartService(store)


def _tell(what: str, kind: str, version: int, *, as_json: bool) -> None:
    if as_json:
        output.document({what: kind, "version": version})
    else:
        output.lines(f"{what}: {kind}; the cart is at version {version}")


def _tell_changed(changed: Changed | None, what: str, *, as_json: bool) -> None:
    if changed is None:
        return
    if as_json:
        output.document({"carts": changed.carts, "events": changed.events, "passed": changed.passed})
    else:
        output.lines(f"{what}: {changed.events:,} in {changed.carts:,} carts; {changed.passed:,} changed meanwhile")
