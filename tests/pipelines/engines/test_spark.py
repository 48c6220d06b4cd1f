"""Spark gives the tables that this process gives."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from cart_core.errors import SourceError
from cart_core.events import ItemAdded, ItemRemoved
from cart_core.projector import kept
from cart_core.projector.streaming import Moment
from cart_core.store import CartStore
from pipelines.engines import engine
from tests.builders import cart_id, history

pytestmark = [
    pytest.mark.spark,
    pytest.mark.usefixtures("spark"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[object]:
    """A session on two cores, ended with its JVM's work."""
    sql = pytest.importorskip("pyspark.sql")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPARK_MASTER", "local[2]")
        session = import_module("pipelines.engines.spark").session()
        yield session
        session.stop()
        assert sql.SparkSession.getActiveSession() is None


@pytest.fixture
def store(tmp_path: Path) -> CartStore:
    """A store of 50 carts, most of them sealed, some in the journal, one of a forgotten user."""
    opened = CartStore.open(tmp_path / "store")
    items = [ItemAdded(product, f"the {product}", 1, 2900, "USD") for product in "ab"]
    for number in range(50):
        opened.append_many(history(*items, cart=cart_id(number * 7919), user=f"u{number}"))
        if number == 40:
            opened.seal()
    opened.append_many(history(ItemRemoved("a"), cart=cart_id(0), user="u0", after=2))
    opened.forget("u3")
    return opened


def test_spark_projects_the_rows_of_local(store: CartStore, tmp_path: Path) -> None:
    """The same rows in the same order, with the same counts, also as of a position in the past."""
    for name, moment in (("now", Moment()), ("past", Moment(until=30))):
        here = engine("local").project(store, tmp_path / name / "local", moment)
        there = engine("spark").project(store, tmp_path / name / "spark", moment)
        assert there == here
        for table in ("carts", "lines"):
            rows = [pq.read_table(tmp_path / name / each / f"{table}.parquet") for each in ("local", "spark")]
            assert rows[0] == rows[1]


def test_a_projection_is_replaced_whole(store: CartStore, tmp_path: Path) -> None:
    """A second projection takes the place of the first, and leaves nothing else behind."""
    engine("local").project(store, tmp_path / "out")
    for _ in range(2):
        engine("spark").project(store, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["carts.parquet", "lines.parquet"]
    assert pl.read_parquet(tmp_path / "out" / "carts.parquet").height == 50


def test_tables_rebuilt_on_spark_are_kept_like_any(
    store: CartStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte the files of a rebuild in this process, in several parts; new events are then folded here."""
    monkeypatch.setattr(kept.refresh, "__defaults__", (None, 30, None))
    assert engine("spark").refresh(store, tmp_path / "spark").rebuilt
    assert engine("local").refresh(store, tmp_path / "local").rebuilt
    names = [path.name for path in kept.current(tmp_path / "spark").carts]
    assert len(names) == 4
    for each in ("carts", "lines"):
        for name in names:
            place = Path(".kept", "current", each, name)
            assert (tmp_path / "spark" / place).read_bytes() == (tmp_path / "local" / place).read_bytes()
    store.append_many(history(ItemRemoved("b"), cart=cart_id(0), user="u0", after=3))
    assert not engine("spark").refresh(store, tmp_path / "spark").rebuilt


def test_a_task_that_fails_leaves_the_old_tables(
    store: CartStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in a worker reaches the caller, and nothing half-made stays."""
    engine("spark").project(store, tmp_path / "out")
    before = pl.read_parquet(tmp_path / "out" / "carts.parquet")
    monkeypatch.setattr("pipelines.engines.spark._fold_share", _fail)
    with pytest.raises(import_module("pyspark.errors").PythonException, match="no such share"):
        engine("spark").project(store, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "carts.parquet").equals(before)
    assert len(list((tmp_path / "out").iterdir())) == 2


def _fail(*_: object) -> None:
    raise SourceError("no such share")
