from __future__ import annotations

from uuid import UUID

import polars as pl
import pytest

from pipelines.tables import INPUTS, TABLES, Table, TableError, conformed, ids_as_text

EVERY = [*TABLES.values(), *INPUTS.values()]
NAMES = [table.name for table in EVERY]
PAIRS = Table(
    "pairs",
    "One pair.",
    ("a",),
    (TABLES["lines"].column("product_id"), TABLES["carts"].column("order_id"), TABLES["lines"].column("quantity")),
)
PAIRS = Table("pairs", "One pair.", ("product_id",), PAIRS.columns)


def pairs(**columns: list[object]) -> pl.DataFrame:
    """A frame that keeps the contract of PAIRS, but for the columns given."""
    base = {"product_id": ["p", "q"], "order_id": ["o", None], "quantity": [1, 2]} | columns
    return pl.DataFrame(base, schema_overrides={"quantity": pl.Int32, "order_id": pl.String})


@pytest.mark.parametrize("table", EVERY, ids=NAMES)
def test_key_columns_exist_and_are_never_null(table: Table) -> None:
    """Every key names columns of its table that may not be null."""
    assert [name for name in table.key if table.column(name).null is not None] == []


@pytest.mark.parametrize("table", EVERY, ids=NAMES)
def test_meanings_are_sentences(table: Table) -> None:
    """Every table and column says in a sentence what it means."""
    told = [table.meaning, *(column.meaning for column in table.columns)]
    assert [text for text in told if not text.endswith(".")] == []


@pytest.mark.parametrize("table", EVERY, ids=NAMES)
def test_column_names_carry_their_unit(table: Table) -> None:
    """Money ends in _cents, durations end in _s, moments in _at, and nothing else does."""
    endings = {"cents": "_cents", "s": "_s"}
    wrong = [
        column.name
        for column in table.columns
        for unit, ending in endings.items()
        if (column.unit == unit) != column.name.removesuffix("_1").removesuffix("_2").endswith(ending)
    ]
    assert wrong == []


def test_names_are_unique() -> None:
    """No two tables share a name, and no table has a column twice."""
    assert len(set(NAMES)) == len(NAMES)
    for table in EVERY:
        assert len({column.name for column in table.columns}) == len(table.columns)


def test_an_empty_table_keeps_its_own_contract() -> None:
    """A table without rows conforms."""
    for table in EVERY:
        assert conformed(table, table.empty()).height == 0


def test_columns_are_put_in_order() -> None:
    """Columns may come in any order and leave in the table's."""
    assert conformed(PAIRS, pairs().select("quantity", "order_id", "product_id")).columns == [
        "product_id",
        "order_id",
        "quantity",
    ]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pairs().drop("quantity"), "columns missing ['quantity']"),
        (pairs().with_columns(extra=1), "columns unknown ['extra']"),
        (pairs().with_columns(pl.col("quantity").cast(pl.Int64)), "quantity is Int64, but must be Int32"),
        (pairs(quantity=[1, None]), "row 1: quantity is missing"),
        (pairs(product_id=["q", "q"]), "row 0: the key product_id='q' stands 2 times"),
    ],
    ids=["missing", "unknown", "type", "null", "key"],
)
def test_a_broken_contract_is_named(frame: pl.DataFrame, told: str) -> None:
    """What breaks the contract is named with its table, column and row."""
    with pytest.raises(TableError) as caught:
        conformed(PAIRS, frame)
    assert told in str(caught.value)
    assert "table pairs" in str(caught.value)


def test_ids_become_text() -> None:
    """Sixteen bytes become the UUID's text, and text stays as it is."""
    ids = [UUID(int=7), UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")]
    frame = pl.DataFrame({"cart_id": [each.bytes for each in ids], "event_id": [str(each) for each in ids]})
    assert ids_as_text(frame).to_dict(as_series=False) == {
        "cart_id": [str(each) for each in ids],
        "event_id": [str(each) for each in ids],
    }
    assert ids_as_text(frame.lazy()).collect().equals(ids_as_text(frame))
