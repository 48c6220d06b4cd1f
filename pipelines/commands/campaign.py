"""The command that hands a campaign to a mail tool: whom to write to, and what the mails would say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session

if TYPE_CHECKING:
    import polars as pl

    from pipelines.derive.mail import Shop

FORMS = (".csv", ".json")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("campaign")(campaign)


def campaign(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The list, as CSV or JSON by the file's ending.")],
    previews: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write what the mails would say there, as text and HTML.")
    ] = None,
    mails: Annotated[int, typer.Option(min=1, help="How many previews, the most promising first.")] = 20,
    shop: Annotated[str, typer.Option(metavar="NAME", help="The shop's name in previews.")] = "Our shop",
    cart_url: Annotated[
        str, typer.Option(metavar="URL", help="Where a cart is opened; its id is appended.")
    ] = "https://shop.example/cart/",
    unsubscribe_url: Annotated[
        str, typer.Option(metavar="URL", help="Where mails are ended.")
    ] = "https://shop.example/unsubscribe",
    as_json: AsJson = False,
) -> None:
    """Write the list of whom to write to for a mail tool, with their addresses now, and previews of the mails.

    Nothing is sent, and nobody is taken as written to: tell what was sent by ``cart hand-in sends``.
    """
    from pipelines.derive import campaign as lists
    from pipelines.derive.mail import Shop
    from pipelines.shop import PlainShop

    if out.suffix not in FORMS:
        raise typer.BadParameter(f"--out {out} ends neither in .csv nor in .json")
    chosen = session(context)
    chosen.store().close()
    folder = PlainShop(chosen.path)
    candidates, as_of = folder.table("recovery_candidates"), folder.notes("recovery_candidates")["as_of"]
    found = lists.recipients(candidates, folder.given("contacts"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(lists.to_csv(found) if out.suffix == ".csv" else lists.to_json(found), "utf-8")
    written = (
        0 if previews is None else _write_previews(found.head(mails), previews, Shop(shop, cart_url, unsubscribe_url))
    )
    told: dict[str, Any] = {
        "as_of": as_of,
        "recipients": found.height,
        "left_alone": candidates.height - found.height,
        "file": str(out),
        "previews": written,
    }
    if as_json:
        output.document(told)
        return
    output.lines(
        f"wrote {found.height} recipients to {out}, as of {as_of}",
        f"{told['left_alone']} silent carts are left alone: their reasons stand in recovery_candidates",
        *([f"wrote {written} mails to {previews}"] if previews is not None else []),
    )


def _write_previews(found: pl.DataFrame, folder: Path, shop: Shop) -> int:
    """One mail for each recipient, as NUMBER-CART.txt and .html in order of promise; how many."""
    from pipelines.derive.mail import preview

    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(found.iter_rows(named=True), 1):
        mail = preview(row, shop)
        place = folder / f"{number:03d}-{row['cart_id']}"
        place.with_suffix(".txt").write_text(f"To: {row['email']}\nSubject: {mail.subject}\n\n{mail.text}\n", "utf-8")
        place.with_suffix(".html").write_text(mail.html, "utf-8")
    return found.height
