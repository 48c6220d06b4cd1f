"""Commands about events: simulate, import, show, history, price-history."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session
from cart_core.errors import Refused

if TYPE_CHECKING:
    from cart_core.events import Envelope
    from cart_core.store import CartStore

Cart = Annotated[str, typer.Argument(metavar="CART", help="The cart's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("simulate")(simulate)
    app.command("import")(import_)
    app.command("show")(show)
    app.command("history")(history)
    app.command("price-history")(price_history)


def simulate(
    carts: Annotated[int, typer.Option(min=1, help="How many carts.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, help="Over how many days.")] = 30,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("data/shop"),
    live: Annotated[str | None, typer.Option(metavar="URL", help="Drive a running server instead.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="With --live, at most so many requests a second.")] = 100.0,
    as_json: AsJson = False,
) -> None:
    """Make up a realistic shop whose truth is known: events, contacts, exposures, coupons, views, truth.json."""
    if live is not None:
        _simulate_live(live, carts, rate, seed, as_json=as_json)
        return
    from cart_core.simulator import simulate as run

    with output.progress("simulating") as tell:
        truth = run(out, carts=carts, days=days, seed=seed, progress=tell)
    if as_json:
        output.document(truth.to_json() if hasattr(truth, "to_json") else truth)
    else:
        output.lines(f"wrote a shop of {carts:,} carts over {days} days to {out}", *_files(out))


def _simulate_live(url: str, carts: int, rate: float, seed: int, *, as_json: bool) -> None:
    try:
        from cart_core.client import CartClient
        from cart_core.live import Pace, shop_live
    except ImportError as error:
        raise Refused(
            "not_installed", f"--live needs the extra api: pip install cart-workbench[api] ({error})"
        ) from error
    token = os.environ.get("CART_TOKEN")

    def client_of(user: str) -> CartClient:
        return CartClient(url, token=token, user=user)

    with client_of("shopper") as client:
        client.position()
    report = shop_live(client_of, carts=carts, pace=Pace(rate), seed=seed)
    if as_json:
        output.document(asdict(report))
        return
    output.lines(
        f"{report.carts:,} carts, {report.orders:,} orders, {sum(report.calls.values()):,} calls done",
        *(f"  refused: {count:,} {code}" for code, count in report.refused.items()),
        *([f"  failed: {report.failed:,}"] if report.failed else []),
    )


def import_(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(help="jsonl, parquet, rees46, retailrocket, segment, ga4, shopify or postgres.")
    ],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files to import (a DSN for postgres).")],
    cart_key: Annotated[
        Literal["session", "user"], typer.Option(help="What makes rows of a click stream one cart.")
    ] = "session",
    currency: Annotated[str, typer.Option(help="The currency of prices where the source names none.")] = "USD",
    duplicates: Annotated[
        Literal["drop", "keep"], typer.Option(help="What to do with rows that are exactly alike.")
    ] = "drop",
    set_aside: Annotated[Path | None, typer.Option(help="Where to put rows that cannot be imported.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import events; rows that cannot be taken are set aside with the reason, and nothing is imported twice."""
    from cart_core.ingest import import_files

    with session(context).store(create=True) as store, output.progress(f"importing {source}") as tell:
        report = import_files(
            store,
            source,
            files,
            cart_key=cart_key,
            currency=currency,
            duplicates=duplicates,
            set_aside=set_aside,
            progress=tell,
            now=datetime.now(UTC),
        )
    shown = report.to_json()
    if as_json:
        output.document(shown)
        return
    output.lines(
        f"{shown['rows']:,} rows read: {shown['event_rows']:,} became events, {shown['already_known']:,} were known, "
        f"{shown['views']:,} views, {sum(shown['set_aside'].values()):,} set aside",
        f"{shown['events']:,} events appended to {shown['carts']:,} carts",
        *(f"  set aside: {count:,} {reason}" for reason, count in shown["set_aside"].items()),
    )
    if shown["set_aside"] and report.set_aside_file is not None:
        output.lines(f"see {report.set_aside_file}")


def show(
    context: typer.Context,
    cart: Cart,
    version: Annotated[int | None, typer.Option(min=0, help="As of this version.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="As of this moment (RFC 3339).")] = None,
    known_at: Annotated[str | None, typer.Option(metavar="TIME", help="As the store knew it at this moment.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a cart: now, or as it was."""
    with session(context).store() as store:
        state = store.cart(cart, version=version, at=output.moment(at), known_at=output.moment(known_at))
        if state.version == 0:
            known(store, cart)
    document = state.to_json()
    output.document(document) if as_json else _print_state(document)


def history(
    context: typer.Context,
    cart: Cart,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Only what had happened by then (RFC 3339).")] = None,
    known_at: Annotated[str | None, typer.Option(metavar="TIME", help="Only what was recorded by then.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every event of a cart, or those of a moment."""
    with session(context).store() as store:
        envelopes = store.read(cart, at=output.moment(at), known_at=output.moment(known_at)) or known(store, cart)[:0]
    if as_json:
        output.document([each.to_json() for each in envelopes])
        return
    rows = []
    for each in envelopes:
        event = each.event.to_json()
        kind = event.pop("type")
        what = " ".join(f"{name}={value}" for name, value in event.items())
        extras = json.dumps(dict(each.metadata)) if each.metadata else ""
        rows.append((each.version, each.to_json()["timestamp"], kind, what, extras))
    output.table(("version", "happened", "event", "what", "metadata"), rows, right=(0,))


def price_history(
    context: typer.Context,
    cart: Cart,
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="The product's id.")],
    as_json: AsJson = False,
) -> None:
    """List what a product's price was in a cart, and since when."""
    from cart_core import prices

    document = prices.price_history(_history(context, cart), product)
    if as_json:
        output.document(document)
        return
    rows = [
        (each["version"], each["timestamp"], each["type"], output.money(each.get("priceCents"), each.get("currency")))
        for each in document["priceHistory"]
    ]
    output.table(("version", "happened", "event", "price"), rows, right=(0, 3))


def _history(context: typer.Context, cart: str) -> list[Envelope]:
    with session(context).store() as store:
        return known(store, cart)


def known(store: CartStore, cart: str) -> list[Envelope]:
    """The events of a cart. Raises Refused (``unknown_cart``) where the store holds none."""
    envelopes = store.read(cart)
    if not envelopes:
        raise Refused("unknown_cart", f"the store at {store.path} holds no cart {cart}")
    return envelopes


def _print_state(document: dict[str, Any]) -> None:
    currency = document["currency"]
    output.lines(
        f"cart {document['cartId']} of {document['userId']}: {document['status']}, version {document['version']}, "
        f"last event {document['lastEventAt']}"
    )
    rows = [
        (
            item["productId"],
            item["productName"],
            item["quantity"],
            output.money(item["pricePerUnitCents"], item["currency"]),
            output.money(item["originalPriceCents"], item["currency"]),
            item["addedAt"],
        )
        for item in document["items"]
    ]
    output.table(("product", "name", "quantity", "price now", "when added", "added"), rows, right=(2, 3, 4))
    for coupon in document["coupons"]:
        unit = "%" if coupon["discountType"] == "percentage" else " minor units"
        output.lines(f"coupon {coupon['code']}: {coupon['discountValue']}{unit}")
    output.lines(
        f"subtotal {output.money(document['subtotalCents'], currency)}, "
        f"discount {output.money(document['discountCents'], currency)}, "
        f"total {output.money(document['totalCents'], currency)}"
    )


def _files(folder: Path) -> list[str]:
    return [f"  {path.name:24} {path.stat().st_size:>12,} bytes" for path in sorted(folder.iterdir())]
