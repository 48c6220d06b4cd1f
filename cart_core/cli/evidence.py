"""Commands about evidence: evidence, check-evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.events import known
from cart_core.cli.output import AsJson, session


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("evidence")(evidence)
    app.command("check-evidence")(check_evidence)


def evidence(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="A new folder for the pack.")],
    cart: Annotated[str | None, typer.Argument(metavar="CART", help="The cart's id.")] = None,
    product: Annotated[str | None, typer.Argument(metavar="PRODUCT", help="The product's id.")] = None,
    order: Annotated[str | None, typer.Option(help="The order that is disputed, in place of CART and PRODUCT.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pack the proof of what a product cost in a cart, or of all that an order charged; seals the store first."""
    from cart_core.evidence import cart_of_order, make_pack, print_pdf, write_pack, write_sums

    if (order is None) == (cart is None or product is None) or (order is not None and cart is not None):
        raise typer.BadParameter("name a CART and a PRODUCT, or an --order")
    with session(context).store() as store:
        store.seal()
        wanted = cart if cart is not None else cart_of_order(store, order or "")
        history = known(store, wanted)
        document = make_pack(store, history, product, datetime.now(UTC))
    files = write_pack(document, out)
    printed = print_pdf(out / "evidence.html")
    files += [*([printed] if printed else []), write_sums(out)]
    head = document["ledger"]["head"]
    if as_json:
        names = [path.relative_to(out).as_posix() for path in files]
        output.document(
            {"cartId": document["cartId"], "out": str(out), "events": len(history), "head": head, "files": names}
        )
    else:
        output.lines(
            *document["sentences"], f"{len(history)} events proved up to head {head}", f"see {out / 'evidence.html'}"
        )


def check_evidence(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a pack.")],
    head: Annotated[str | None, typer.Option(metavar="HEX", help="The ledger's head as it was published.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a pack offline, without a store; exits 1 and names the place of whatever is wrong."""
    from cart_core.evidence import check_pack

    output.verdict(
        check_pack(folder, head), f"{folder} holds: every file, every proof, every sentence", as_json=as_json
    )
