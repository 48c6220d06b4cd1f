"""The walls of docs/architecture.md stand, and each of them bites."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("cart_core", "pipelines")
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"

CLOCK = re.compile(r"(.+\.)?(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime|ctime)")
CLOCK_READERS = (
    "cart_core/cli/",
    "cart_core/ingest",
    "cart_core/live.py",  # it paces its requests by the clock that it is handed
    "cart_core/service/",
    "cart_core/store/upkeep/compaction.py",  # a file's age is told by the clock that dated it
    "cart_core/store/requests.py",  # the store's clock where it is handed none
    "pipelines/commands/",
    "pipelines/defs/",
)
DISK = re.compile(r"open|.+\.(open|read_[a-z]+|scan_[a-z]+|write_[a-z]+|sink_[a-z]+)")
DISKLESS = ("pipelines/derive/", "pipelines/tables/")


def linted(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What ``lint-imports`` says of the packages in a folder."""
    command = [sys.executable, "-c", LINTER, "--no-cache", "--no-logo", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def layers(contract: str) -> list[list[str]]:
    """The layers of a contract from the top down, each as its neighbouring modules."""
    inside = CONTRACTS[contract]["containers"][0]
    rows = [row.replace("(", "").replace(")", "").split(" | ") for row in CONTRACTS[contract]["layers"]]
    return [[f"{inside}.{name}" for name in row] for row in rows]


def upward(contract: str) -> Iterator[tuple[str, str, str]]:
    """One import against each layer's direction, and one between each layer's neighbours."""
    for above, below in pairwise(layers(contract)):
        yield contract, below[0], above[0]
    for row in layers(contract):
        for one, other in pairwise(row):
            yield contract, one, other


SEEDS = [
    *upward("cart-core"),
    *upward("store"),
    *upward("pipelines"),
    ("truth-alone", "cart_core.projector", "pipelines.tables"),
    ("truth-alone", "cart_core.cli", "dagster"),
    ("dagster", "pipelines.tables", "dagster"),
    ("dagster-behind-defs", "pipelines.commands", "dagster"),
    ("pure-derivation", "pipelines.derive", "cart_core.store"),
    ("pure-derivation", "pipelines.tables.contract", "cart_core.importers"),
    ("no-disk", "pipelines.derive", "pathlib"),
    ("dashboard-computes-nothing", "pipelines.dashboard", "pipelines.derive"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of both packages and their contracts, to be spoilt."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def source_of(folder: Path, module: str) -> Path:
    """The file of a module in a copy; a module that is still to come is made."""
    path = folder.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def nodes(folder: Path, hint: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the sources that hold the hint, a regular expression, with its ``path:line``."""
    for package in PACKAGES:
        for path in sorted((folder / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if re.search(hint, text) else ():
                yield f"{path.relative_to(folder).as_posix()}:{getattr(node, 'lineno', 0)}", node


def clock_reads(folder: Path) -> list[str]:
    """Where the clock is read behind a door: ``path:line name``."""
    found = [
        f"{place} {ast.unparse(node.func)}"
        for place, node in nodes(folder, r"now\(|today\(|time\.")
        if isinstance(node, ast.Call) and CLOCK.fullmatch(ast.unparse(node.func))
    ]
    found += [
        f"{place} time.{each.name}"
        for place, node in nodes(folder, "from time import")
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for each in node.names
        if CLOCK.fullmatch(f"time.{each.name}")
    ]
    return [each for each in found if not each.startswith(CLOCK_READERS)]


def disk_touches(folder: Path) -> list[str]:
    """Where a derivation reads or writes a file; polars' writers give text where they are handed none."""
    return [
        f"{place} {ast.unparse(node.func)}"
        for place, node in nodes(folder, r"open\(|(read|scan|write|sink)_")
        if isinstance(node, ast.Call) and DISK.fullmatch(ast.unparse(node.func))
        if (node.args or any(each.arg == "file" for each in node.keywords)) and place.startswith(DISKLESS)
    ]


def test_no_import_crosses_a_wall():
    """Every contract is kept by the code as it is."""
    report = linted(REPOSITORY)
    assert report.returncode == 0, report.stdout + report.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in report.stdout


@pytest.mark.parametrize(("contract", "importer", "imported"), SEEDS)
def test_a_wall_bites(copy: Path, contract: str, importer: str, imported: str):
    """One import across a wall breaks its contract, and the report names it."""
    if imported.startswith(PACKAGES):
        source_of(copy, imported).touch()
    with source_of(copy, importer).open("a", encoding="utf-8") as source:
        source.write(f"\nimport {imported}\n")
    report = linted(copy, "--contract", contract)
    assert report.returncode == 1, report.stdout + report.stderr
    assert f"{CONTRACTS[contract]['name']} BROKEN" in report.stdout
    assert re.search(rf"{importer} -> {imported} \(l\.\d+\)", report.stdout), report.stdout


def test_every_contract_is_seeded():
    """No wall is left untried."""
    assert {contract for contract, _, _ in SEEDS} == set(CONTRACTS)


def test_every_part_but_the_runner_is_kept_from_dagster():
    """A new part of pipelines stands behind Dagster's wall from its first day."""
    parts = {
        path.stem
        for path in (REPOSITORY / "pipelines").iterdir()
        if source_of(REPOSITORY, f"pipelines.{path.stem}").is_file()
    }
    kept = {module.removeprefix("pipelines.") for module in CONTRACTS["dagster"]["source_modules"]}
    assert parts - kept == {"__init__", "commands", "definitions", "defs"}


def test_a_module_without_a_place_is_refused(copy: Path):
    """A new file at the top of a package has to be given its layer."""
    (copy / "cart_core" / "misplaced.py").touch()
    report = linted(copy, "--contract", "cart-core")
    assert report.returncode == 1
    assert "misplaced" in report.stdout + report.stderr


def test_only_doors_read_the_clock():
    """Everything but the doors takes time as an argument, so that any run can be repeated."""
    assert clock_reads(REPOSITORY) == []


def test_derivation_never_touches_the_disk():
    """A derivation is frames in, frames out."""
    assert disk_touches(REPOSITORY) == []


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ("moment = datetime.now(UTC)", "datetime.now"),
        ("moment = datetime.datetime.utcnow()", "datetime.datetime.utcnow"),
        ("day = date.today()", "date.today"),
        ("moment_s = time.time()", "time.time"),
        ("from time import time_ns as tick", "time.time_ns"),
    ],
)
def test_a_read_of_the_clock_is_found(copy: Path, read: str, told: str):
    """Reading the clock behind a door is seen, whatever it is called."""
    with source_of(copy, "pipelines.derive").open("a", encoding="utf-8") as source:
        source.write(f"\n{read}\n")
    assert [found.split()[1] for found in clock_reads(copy)] == [told]


@pytest.mark.parametrize("call", ["open('a')", "pl.read_parquet('a')", "frame.write_csv(file='a')", "pl.scan_csv('a')"])
def test_a_touch_of_the_disk_is_found(copy: Path, call: str):
    """Reading or writing a file inside a derivation is seen."""
    with source_of(copy, "pipelines.derive").open("a", encoding="utf-8") as source:
        source.write(f"\ntouched = {call}\n")
    assert [found.split()[1] for found in disk_touches(copy)] == [call.split("(", maxsplit=1)[0]]
