"""Commands that keep a store: status, seal, compact, publish, verify, forget, new-key."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session
from cart_core.errors import Refused


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(status)
    app.command("seal")(seal)
    app.command("compact")(compact)
    app.command("publish")(publish)
    app.command("verify")(verify)
    app.command("forget")(forget)
    app.command("new-key")(new_key)


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what the store holds and how it lies on disk."""
    with session(context).store() as store:
        found = store.status()
    if as_json:
        output.document(found)
    else:
        width = max(len(name) for name in found)
        output.lines(*(f"{name.replace('_', ' '):{width}}  {_shown(value)}" for name, value in found.items()))


def seal(
    context: typer.Context,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add the ledger's head to this file, which is kept elsewhere.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="Sign the anchor with this key, made by new-key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move the journal into immutable Parquet segments, and anchor the head of the ledger."""
    if key is not None and anchor is None:
        raise typer.BadParameter("--key signs an anchor: name its file with --anchor")
    with session(context).store() as store:
        sealed = store.seal()
        made = store.anchor(anchor, key.read_bytes() if key else None) if anchor else None
    if as_json:
        output.document({"rows": sealed.rows, "files": sealed.files, **({"anchor": made} if made else {})})
        return
    output.lines(f"sealed {sealed.rows:,} events into {sealed.files} files")
    if made:
        signed = f", signed by {made['publicKey']}" if "publicKey" in made else ""
        output.lines(f"anchored head {made['head']} of {made['batches']:,} batches in {anchor}{signed}")


def compact(
    context: typer.Context,
    keep: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="How long replaced files stay for readers that hold them.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Rewrite small segments as large ones."""
    with session(context).store() as store:
        done = store.compact(timedelta(hours=keep))
    if as_json:
        output.document({"before": done.before, "after": done.after, "swept": done.swept})
    else:
        output.lines(f"rewrote {done.before} segments as {done.after}, removed {done.swept} files nobody reads")


def publish(context: typer.Context, as_json: AsJson = False) -> None:
    """Make the segments a Delta table that other engines read; nothing is copied."""
    with session(context).store() as store:
        done = store.publish()
    if as_json:
        output.document(asdict(done))
        return
    output.lines(
        f"the Delta table {done.place} is at version {done.version}: {done.rows:,} events in {done.files} files",
        f"{done.added} files added, {done.removed} removed, {done.rewritten} written anew before that",
    )
    if done.unsealed:
        output.lines(f"{done.unsealed:,} events are not in it, as they are not sealed yet: see cart seal")


def verify(
    context: typer.Context,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Hold the ledger against every anchor in this file, too.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Each anchor must be signed by this key (hex or PEM).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every event, file and link of the chain; exits 1 and names what is wrong."""
    if public_key is not None and anchor is None:
        raise typer.BadParameter("--public-key is the key of anchors: name their file with --anchor")
    with session(context).store() as store:
        found = store.verify(anchor, _public_key(public_key))
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


def new_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the private key; FILE.pub is public.")],
    as_json: AsJson = False,
) -> None:
    """Make a key that signs anchors; keep the private half where the store's keepers do not reach."""
    from cart_core import ledger

    private = ledger.new_private_key()
    public, place = ledger.public_key_of(private), file.with_name(f"{file.name}.pub")
    _write_new(file, private, 0o600)
    _write_new(place, f"{public}\n".encode(), 0o644)
    if as_json:
        output.document({"privateKey": str(file), "publicKey": public, "publicKeyFile": str(place)})
    else:
        output.lines(f"private key in {file} (keep it apart from the store)", f"public key {public} in {place}")


def _write_new(file: Path, content: bytes, mode: int) -> None:
    """Write a file that nobody else may read before it has its mode. Raises Refused where there is one already."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise Refused("file_exists", f"{file} is there already, and a key is never overwritten") from error
    with os.fdopen(handle, "wb") as out:
        out.write(content)


def _public_key(file: Path | None) -> str | None:
    from cart_core import ledger

    return ledger.read_public_key(file.read_text(encoding="utf-8")) if file else None


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
