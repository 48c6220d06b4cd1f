"""Commands that keep a store: status, seal, compact, verify, forget."""

from __future__ import annotations

from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(status)
    app.command("seal")(seal)
    app.command("compact")(compact)
    app.command("verify")(verify)
    app.command("forget")(forget)


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what the store holds and how it lies on disk."""
    with session(context).store() as store:
        found = store.status()
    if as_json:
        output.document(found)
    else:
        width = max(len(name) for name in found)
        output.lines(*(f"{name.replace('_', ' '):{width}}  {_shown(value)}" for name, value in found.items()))


def seal(context: typer.Context, as_json: AsJson = False) -> None:
    """Move the journal into immutable Parquet segments."""
    with session(context).store() as store:
        sealed = store.seal()
    if as_json:
        output.document({"rows": sealed.rows, "files": sealed.files})
    else:
        output.lines(f"sealed {sealed.rows:,} events into {sealed.files} files")


def compact(context: typer.Context, as_json: AsJson = False) -> None:
    """Rewrite small segments as large ones."""
    with session(context).store() as store:
        done = store.compact()
    if as_json:
        output.document({"before": done.before, "after": done.after, "swept": done.swept})
    else:
        output.lines(f"rewrote {done.before} segments as {done.after}, removed {done.swept} files nobody reads")


def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Check every event, file and link of the chain; exits 1 and names what is wrong."""
    with session(context).store() as store:
        found = store.verify()
    if as_json:
        output.document(
            {
                "ok": found.ok,
                "events": found.events,
                "segments": found.segments,
                "batches": found.batches,
                "head": found.head,
                "problems": found.problems,
            }
        )
    elif found.ok:
        output.lines(f"all is well: {found.events:,} events in {found.segments} segments, chain head {found.head}")
    else:
        output.lines(*(f"wrong: {problem}" for problem in found.problems))
    if not found.ok:
        raise typer.Exit(1)


def forget(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="The shop's id of the user.")],
    as_json: AsJson = False,
) -> None:
    """Remove the link from a person to their events for good; totals and proofs stay."""
    with session(context).store() as store:
        known = store.forget(user)
    if as_json:
        output.document({"forgotten": known})
    else:
        output.lines(f"forgot {user}" if known else f"the store holds nothing of {user}")


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
