"""Commands about audits: audit, check-audit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session

if TYPE_CHECKING:
    from cart_core.audit import Period


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("audit")(audit)
    app.command("check-audit")(check_audit)


def audit(
    context: typer.Context,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="The period's first moment (RFC 3339).")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The period's last moment, included.")],
    out: Annotated[Path, typer.Option(help="A new folder for the pack.")],
    by: Annotated[
        Literal["either", "happened", "recorded"],
        typer.Option(help="Events that happened in the period, that were recorded in it, or either."),
    ] = "either",
    seal: Annotated[bool, typer.Option(help="Seal the journal first, so that every event leads to the head.")] = True,
    anchor: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Anchors to hold the store to, and to put into the pack."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack the full trail of a period for an auditor, who checks it offline; exits 1 where verify finds a fault."""
    from cart_core.audit import write_audit

    period = _period(start, end, by)
    with session(context).store() as store:
        if seal:
            store.seal()
        written = write_audit(store, period, out, datetime.now(UTC), anchor)
    manifest = {name: value for name, value in written.manifest.items() if name != "madeAt"}
    if as_json:
        told = {"ok": not written.problems, "problems": written.problems, "sumsSha256": written.sums_sha256}
        output.document({"out": str(out), **manifest, **told})
    else:
        output.lines(
            f"{manifest['events']:,} events of {manifest['from']} to {manifest['to']} up to head {manifest['head']}",
            *([f"{manifest['unsealed']:,} of them are not sealed"] if manifest["unsealed"] else []),
            *(f"wrong in the store: {problem}" for problem in written.problems),
            f"see {out / 'README.html'}; SHA-256 of its SHA256SUMS: {written.sums_sha256}",
        )
    if written.problems:
        raise typer.Exit(1)


def check_audit(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a pack.")],
    head: Annotated[str | None, typer.Option(metavar="HEX", help="The ledger's head as it was published.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check an audit pack offline, without a store; exits 1 and names the place of whatever is wrong."""
    from cart_core.audit import check_pack

    output.verdict(check_pack(folder, head), f"{folder} holds: every file, every event, every batch", as_json=as_json)


def _period(start: str, end: str, by: Literal["either", "happened", "recorded"]) -> Period:
    from cart_core.audit import Period

    first, last = output.moment(start), output.moment(end)
    if first is None or last is None or last < first:
        raise typer.BadParameter(f"--to {end} lies before --from {start}")
    return Period(first, last, by)
