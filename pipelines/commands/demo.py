"""``cart demo``: the main job from nothing, and what came of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson
from cart_core.errors import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from cart_core.store import CartStore

DAYS = 30
SHOWN_CANDIDATES = 5
PLAN_FILE = "demo.json"
EXAMPLE_QUERY = "SELECT stage, outcome, count(*) FROM abandonment_episodes GROUP BY ALL"
HANDED_IN = ("views", "contacts", "exposures", "coupons", "stock")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a demo is made of: a simulated shop, or a file of a source."""

    carts: int
    seed: int
    source: str | None = None
    file: str | None = None


def demo(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the demo's shop and store stand.")] = Path(
        "data/demo"
    ),
    carts: Annotated[int, typer.Option(min=1, help="How many carts to simulate.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Same seed, same shop.")] = 1,
    given: Annotated[
        tuple[str, Path] | None,
        typer.Option("--from", metavar="SOURCE FILE", help="Import this file instead of a simulated shop."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a shop (or take a file), import it, derive every table, write the report, and show the result."""
    plan = Plan(carts, seed) if given is None else Plan(0, 0, given[0], str(given[1].resolve()))
    _claim(folder, plan)
    with output.progress("the demo") as tell:
        summary = run(folder, plan, lambda done: tell(done, 4))
    output.document(summary) if as_json else _print(summary)


def run(folder: Path, plan: Plan, tell: Any = lambda _done: None) -> dict[str, Any]:
    """Carry a demo out in a folder, and return its summary: counts, rates, funnel, best candidates, where to look.

    It writes ``shop`` (what was simulated) and ``store``. Doing it again imports nothing twice.
    Raises what importing and deriving raise.
    """
    from cart_core.store import CartStore
    from pipelines.defs.in_process import refresh

    home = folder / "store"
    as_of = None if plan.source else _simulate(folder / "shop", plan)
    tell(1)
    with CartStore.open(home) as store:
        imported = _import(store, folder / "shop", plan)
        as_of = as_of or _last_moment(store)
    tell(2)
    done = refresh(home, as_of)
    tell(3)
    return _summary(home, imported, as_of, done.checks)


def _claim(folder: Path, plan: Plan) -> None:
    """Take a folder for this plan. Raises Refused where another plan, or something else, stands in it."""
    place = folder / PLAN_FILE
    if place.exists():
        if json.loads(place.read_text()) != asdict(plan):
            raise Refused(
                "other_demo", f"{folder} holds a demo made with other options: name another --dir, or remove the folder"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise Refused("folder_in_use", f"{folder} is not empty and holds no demo: name another --dir")
    folder.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(asdict(plan)))


def _simulate(out: Path, plan: Plan) -> datetime:
    from cart_core import rules
    from cart_core.simulator import simulate

    simulate(out, carts=plan.carts, days=DAYS, seed=plan.seed)
    return rules.parse_time(json.loads((out / "truth.json").read_text())["end"])


def _import(store: CartStore, shop: Path, plan: Plan) -> dict[str, Any]:
    from cart_core.ingest import import_files

    if plan.source is not None:
        return import_files(store, plan.source, [str(plan.file)]).to_json()
    report = import_files(store, "parquet", [shop / "events.parquet"])
    hand_in_shop(store.path, shop)
    return report.to_json()


def hand_in_shop(home: Path, shop: Path) -> None:
    """Put what a simulated shop hands in beside its events, and its experiments, into a store's folder."""
    from pipelines.handing_in import hand_in
    from pipelines.shop import EXPERIMENTS

    for name in HANDED_IN:
        hand_in(home, name, shop / f"{name}.parquet")
    shutil.copyfile(shop / EXPERIMENTS, home / "inputs" / EXPERIMENTS)


def _last_moment(store: CartStore) -> datetime:
    """The latest moment of any event. Raises Refused where there is none."""
    latest: datetime | None = store.scan(columns=["timestamp"]).collect()["timestamp"].max()  # type: ignore[assignment]
    if latest is None:
        raise Refused("nothing_imported", "the file holds no event that could be imported")
    return latest


def _summary(home: Path, imported: dict[str, Any], as_of: datetime, checks: dict[str, bool]) -> dict[str, Any]:
    import polars as pl

    from cart_core import rules
    from pipelines import files
    from pipelines.dashboard.report import REPORT_FILE

    derived = home / "derived"
    figures = {row["figure"]: row["value"] for row in files.read_table(derived, "headline").iter_rows(named=True)}
    steps = files.read_table(derived, "funnel_steps").filter(
        (pl.col("funnel") == "user") & (pl.col("breakdown") == "all")
    )
    best = files.read_table(derived, "recovery_candidates").filter("eligible").sort("rank").head(SHOWN_CANDIDATES)
    shown = ("rank", "user_id", "cart_id", "stage", "currency", "value_cents", "expected_value_cents", "hours_since")
    return {
        "asOf": rules.format_time(as_of),
        "imported": imported,
        "figures": figures,
        "funnel": steps.sort("step_index").select("step", "entered", "converted", "rate", "step_rate").to_dicts(),
        "candidates": best.select(shown).to_dicts(),
        "checks": {"held": sum(checks.values()), "failed": sorted(name for name, held in checks.items() if not held)},
        "store": str(home),
        "report": str(derived / REPORT_FILE),
    }


def _print(summary: dict[str, Any]) -> None:
    figures, imported = summary["figures"], summary["imported"]
    output.lines(
        f"{imported['rows']:,} rows read, {imported['events']:,} events appended; figures as of {summary['asOf']}",
        f"{figures['carts']:,.0f} carts, {figures['orders']:,.0f} orders; "
        f"{_share(figures['abandonment_rate'])} of settled carts were left at least once, "
        f"{_share(figures['recovery_rate'])} of settled silences ended in a checkout",
        "",
        "How far shoppers get",
    )
    output.table(
        ("step", "came", "went on", "of those", "of all"),
        [
            (row["step"], f"{row['entered']:,}", f"{row['converted']:,}", _share(row["step_rate"]), _share(row["rate"]))
            for row in summary["funnel"]
        ],
        right=(1, 2, 3, 4),
    )
    eligible, silent = figures["eligible"], figures["open_episodes"]
    output.lines("", f"Whom to write to: {eligible:,.0f} of {silent:,.0f} silent carts; the most promising")
    output.table(
        ("#", "shopper", "cart", "left in", "silent", "value", "expected"),
        [_candidate_row(row) for row in summary["candidates"]],
        right=(0, 4, 5, 6),
    )
    _print_where(summary)


def _candidate_row(row: dict[str, Any]) -> tuple[Any, ...]:
    value, expected = (
        output.money(round(row[name]), row["currency"]) for name in ("value_cents", "expected_value_cents")
    )
    hours = f"{row['hours_since']:.0f} h"
    return row["rank"], row["user_id"], row["cart_id"], row["stage"], hours, value, expected


def _print_where(summary: dict[str, Any]) -> None:
    store = summary["store"]
    cart = summary["candidates"][0]["cart_id"] if summary["candidates"] else "CART"
    failed = summary["checks"]["failed"]
    output.lines(
        "",
        f"{summary['checks']['held']} checks hold" + (f"; these do not: {', '.join(failed)}" if failed else ""),
        f"Report: {summary['report']}",
        "",
        "Go on with",
        f"  cart --store {store} history {cart}",
        f'  cart --store {store} sql "{EXAMPLE_QUERY}"',
        f"  cart --store {store} dashboard    (the extra dashboard; in a clone: make dashboard)",
        f"  CART_STORE={store} dg dev    (the extra dagster; in a clone: make dagster)",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
