"""What a start costs: counted in modules that are loaded, not in seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cart_core.events import ItemAdded
from cart_core.store import CartStore
from tests.builders import CART, history

HEAVY = frozenset(
    (
        "altair", "boto3", "dagster", "duckdb", "fastapi", "great_tables", "httpx", "ipywidgets", "jinja2", "llvmlite",
        "numba", "opentelemetry", "polars", "psycopg", "pyspark", "scipy", "starlette", "streamlit", "tea_tasting",
        "uvicorn", "vl_convert",
    )
)  # fmt: skip
LIGHT = frozenset(("numpy", "pandas", "pyarrow"))
"""What a command that touches no event does without, too; pyarrow itself loads pandas where that is installed."""

LOADED = "\nimport sys\nsys.stderr.write('\\n' + ' '.join(sys.modules))"
RUN = "import sys\nsys.argv = {argv!r}\nfrom cart_core.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"


def loaded(code: str) -> set[str]:
    """The modules of a new process after it ran some code; pandas' own are counted as one."""
    done = subprocess.run(
        [sys.executable, "-c", code + LOADED], capture_output=True, text=True, check=True, timeout=120
    )
    names = set(done.stderr.splitlines()[-1].split())
    return {name for name in names if not name.startswith("pandas.")}


def packages(modules: set[str]) -> set[str]:
    """The packages that modules are of."""
    return {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one cart."""
    place = tmp_path_factory.mktemp("store")
    with CartStore.open(place) as opened:
        opened.append_many(history(ItemAdded("mug", "Mug", 1, 2900, "USD")))
    return place


def test_importing_the_package_loads_next_to_nothing():
    """What a program needs is loaded when it is used."""
    modules = loaded("import cart_core")
    assert packages(modules) & (HEAVY | LIGHT) == set()
    assert len(modules) <= 120


def test_help_loads_no_library_that_it_does_not_print():
    """All commands are listed without what they run on."""
    modules = loaded(RUN.format(argv=["cart", "--help"]))
    assert packages(modules) & (HEAVY | LIGHT) == set()
    assert len(modules) <= 350


@pytest.mark.parametrize("command", [["show", CART], ["history", CART], ["price-history", CART, "mug"], ["status"]])
def test_reading_one_cart_loads_no_engine(store: Path, command: list[str]):
    """Neither DuckDB nor Polars nor a compiler for what one cart's rows tell."""
    modules = loaded(RUN.format(argv=["cart", "--store", str(store), *command]))
    assert packages(modules) & HEAVY == set()
    assert "cart_core.store.store" in modules
    assert len(modules) <= 700


APPEND = """
from cart_core.events import ItemAdded
from cart_core.store import CartStore
with CartStore.open({place!r}) as store:
    store.append({cart!r}, [ItemAdded("mug", "Mug", 1, 2900, "USD")], "ann", 0)
    assert store.cart({cart!r}).version == 1
"""


def test_an_append_loads_neither_pandas_nor_what_checks_requests(tmp_path: Path):
    """A program that writes and reads one cart pays for the store alone."""
    modules = loaded(APPEND.format(place=str(tmp_path / "store"), cart=CART))
    assert packages(modules) & (HEAVY | {"pandas", "pydantic", "typer"}) == set()
    assert len(modules) <= 450


@pytest.mark.parametrize("command", [["show", CART], ["status"]])
def test_a_command_on_a_cart_in_the_journal_loads_no_pandas(tmp_path: Path, command: list[str]):
    """Only rows of a segment take pyarrow there, which asks for pandas where it is installed."""
    with CartStore.open(tmp_path / "store") as opened:
        opened.append_many(history(ItemAdded("mug", "Mug", 1, 2900, "USD")))
    modules = loaded(RUN.format(argv=["cart", "--store", str(tmp_path / "store"), *command]))
    assert "pandas" not in packages(modules)
    assert len(modules) <= 600
