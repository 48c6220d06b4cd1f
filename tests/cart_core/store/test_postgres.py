"""The catalog in PostgreSQL: what the database itself refuses, lost connections, servers that are away, two stores."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cart_core.errors import (
    CartError,
    Refused,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreNotFound,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
)
from cart_core.store import CartStore
from cart_core.store.catalogs import catalog
from tests import postgres
from tests.cart_core.store.builders import MUG, NO_MUG, POT, life, named

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
from cart_core.store.catalogs.postgres import PostgresCatalog, parse  # noqa: E402 - it needs the driver

pytestmark = pytest.mark.postgres
CART = named("cart")
Client = Any
"""A plain connection of the driver, past our code."""


@pytest.fixture
def url() -> str:
    """The address of a store that is not there yet."""
    return postgres.server().fresh()


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[CartStore]:
    """An empty store with its catalog on a server."""
    with CartStore.open(catalog=url, segments=str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def client(url: str, store: CartStore) -> Iterator[Client]:
    """A plain client of the database, in the schema of the store."""
    address = parse(url)
    assert store.catalog.place == address.shown
    with psycopg.connect(address.conninfo, autocommit=True, options=f"-c search_path={address.schema}") as opened:
        yield opened


def drop_connections(client: Client) -> int:
    """End every other connection of the server; returns how many there were."""
    sql = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'cart'"
    return int(client.execute(sql).fetchone()[0])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET quantity = 99",
        "UPDATE journal SET position = position + 1 WHERE version = 5",
        "DELETE FROM journal WHERE version = 5",
        "TRUNCATE journal",
        "TRUNCATE journal, segments, batches CASCADE",
        "UPDATE segments SET file = 'other.parquet'",
        "UPDATE segments SET last_position = 3",
        "DELETE FROM segments",
        "TRUNCATE segments",
        "UPDATE batches SET root = ''",
        "DELETE FROM batches",
        "TRUNCATE batches",
        "UPDATE users SET user_id = 'eve'",
        "TRUNCATE users",
        "INSERT INTO users (user_id) VALUES ('eve')",
        "UPDATE forgotten SET commitment = NULL",
        "DELETE FROM forgotten",
        "TRUNCATE forgotten",
        "UPDATE state SET position = 3",
        "UPDATE state SET recorded_at = 0",
        "UPDATE state SET user_key = 0",
        "DELETE FROM state",
        "TRUNCATE state",
    ],
)
def test_p1_a_statement_that_changes_history_is_refused(client: Client, store: CartStore, statement: str):
    """Triggers in the database answer, whoever asks."""
    store.append_many(life("sealed"))
    store.seal()
    store.append_many([*life("journal"), *life("of somebody else", "bob")])
    store.forget("bob")
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        client.execute(statement)
    assert len(store.read(named("sealed"))) == len(store.read(named("journal"))) == 5
    assert store.verify().problems == []


def test_p10_a_name_that_is_changed_in_the_database_is_found(client: Client, store: CartStore):
    """Whoever removes the triggers and swaps two users is found by their numbers; the forgotten stay as they are."""
    store.append_many([*life("a", "ann"), *life("b", "bob"), *life("c", "eve")])
    store.seal()
    store.forget("ann")
    assert store.verify().problems == []
    client.execute("ALTER TABLE users DISABLE TRIGGER ALL; UPDATE users SET user_key = -user_key")
    client.execute("UPDATE users SET user_key = 5 + user_key")
    assert [each.partition(":")[0] for each in store.verify().problems] == ["user 2", "user 3", "batch 1"]


def test_p1_a_position_cannot_be_given_twice(client: Client, store: CartStore):
    """The journal's own keys refuse a second event at a position, a version, or with an id."""
    store.append_many(life())
    with pytest.raises(psycopg.errors.UniqueViolation):
        client.execute("INSERT INTO journal SELECT * FROM journal WHERE version = 1")


def test_p4_a_commit_waits_for_the_disk_whatever_the_server_is_set_to(store: CartStore):
    """A server that answers before it has written is told to wait for this store."""
    with store.catalog.reading() as db:
        assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_connections_that_the_server_dropped_are_made_anew(client: Client, store: CartStore):
    """After every idle connection was ended, the next read and the next append go through as if nothing had been."""
    store.append(CART, [MUG], "ann", 0)
    assert drop_connections(client) >= 1
    assert store.append(CART, [POT], "ann", 1) == 2
    assert drop_connections(client) >= 1
    assert [each.version for each in store.read(CART)] == [1, 2]


def test_many_idle_connections_that_were_dropped_are_all_made_anew(client: Client, store: CartStore):
    """However many of them lie idle, no caller sees one fail."""
    meet, left = threading.Barrier(4), threading.Barrier(4)
    failed: list[CartError] = []

    def look() -> None:
        try:
            with store.catalog.reading() as db:
                meet.wait()
                catalog.state(db)
                left.wait()
        except CartError as error:
            failed.append(error)

    for _ in range(2):
        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert drop_connections(client) == 4
    assert failed == []


def test_p3_a_connection_that_is_lost_in_the_middle_leaves_nothing(client: Client, store: CartStore):
    """The writer is told to repeat, nothing was written, and the next append has the next position."""
    store.append(CART, [MUG], "ann", 0)
    with (
        pytest.raises(StoreUnreachable, match="repeat the call with the same event ids"),
        store.catalog.writing() as db,
    ):
        catalog.advance(db, 7, 2**60)
        assert drop_connections(client) == 1
    assert (store.position(), store.append(CART, [POT], "ann", 1), store.position()) == (1, 2, 2)


def test_p3_a_statement_that_failed_and_was_passed_over_commits_nothing(store: CartStore):
    """PostgreSQL answers COMMIT with a rollback then, which must not look like success."""
    with pytest.raises(StoreError, match="nothing of it was written"), store.catalog.writing() as db:
        catalog.advance(db, 7, 0)
        with pytest.raises(psycopg.errors.UndefinedTable):
            db.execute("SELECT * FROM nowhere")
    assert store.position() == 0


def test_a_server_that_is_away_is_told_and_used_again_when_it_is_back(url: str, store: CartStore):
    """While it is down, reads and appends say so; afterwards the same store goes on where it was."""
    store.append(CART, [MUG], "ann", 0)
    server = postgres.server()
    server.stop()
    try:
        for call in (store.position, lambda: store.append(CART, [POT], "ann", 1), store.seal):
            with pytest.raises(StoreUnreachable, match="does not answer"):
                call()
        with pytest.raises(StoreUnreachable, match="does not answer"):
            CartStore.open(catalog=url)
    finally:
        server.start()
    assert store.append(CART, [POT], "ann", 1) == 2
    assert store.verify().problems == []


def test_p8_a_reader_holds_up_no_writer_and_sees_one_moment(store: CartStore):
    """Appends and a seal go through while somebody reads, who sees none of it."""
    store.append(CART, [MUG], "ann", 0)
    with store.catalog.reading() as db:
        before = catalog.state(db)
        writer = threading.Thread(target=lambda: (store.append(CART, [POT], "ann", 1), store.seal()))
        writer.start()
        writer.join()
        assert (catalog.state(db), catalog.segments(db)) == (before, [])
    assert (store.position(), store.status()["segments"]) == (2, 1)


def test_p8_a_writer_waits_for_another_and_no_longer_than_it_may(url: str, store: CartStore):
    """Whoever holds the catalog too long is named as the reason."""
    hasty = PostgresCatalog(url, timeout_s=0.05)
    with store.catalog.writing(), pytest.raises(StoreBusy, match="too long"), hasty.writing():
        pass
    with hasty.writing() as db:
        assert catalog.state(db).position == 0
    hasty.close()


def test_a_pool_that_is_used_up_says_how_to_make_it_larger(url: str):
    """A process has no more connections than its URL allows."""
    small = PostgresCatalog(f"{url}&pool=1", timeout_s=0.05)
    told: list[object] = []

    def look() -> None:
        try:
            with small.reading():
                told.append("read")
        except StoreBusy as error:
            told.append(str(error))

    with small.reading():
        other = threading.Thread(target=look)
        other.start()
        other.join()
    look()
    small.close()
    assert told == ["all 1 connections to the catalog are in use: allow more with ?pool= in its URL", "read"]


def _append_in_child(store: CartStore, done) -> None:
    done.put(store.append(CART, [POT], "ann", 1))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(store: CartStore):
    """Parent and child both go on; neither breaks the other's conversation with the server."""
    fork = multiprocessing.get_context("fork")
    store.append(CART, [MUG], "ann", 0)
    done = fork.Queue()
    child = fork.Process(target=_append_in_child, args=(store, done))
    child.start()
    assert done.get(timeout=60) == 2
    child.join()
    assert store.append(CART, [NO_MUG], "ann", 2) == 3


def test_status_tells_where_the_catalog_is_without_the_password(url: str, tmp_path: Path):
    """Server, database and schema."""
    with CartStore.open(catalog=url.replace("postgres@", "postgres:secret@"), segments=str(tmp_path)) as store:
        assert store.status()["catalog"] == url


def test_two_schemas_of_a_database_are_two_stores(tmp_path: Path):
    """Neither sees the other's events, users or segments."""
    stores = [CartStore.open(catalog=postgres.server().fresh(), segments=str(tmp_path / name)) for name in "ab"]
    stores[0].append_many(life("a"))
    stores[0].seal()
    assert [store.position() for store in stores] == [5, 0]
    assert stores[1].append(named("a"), [MUG], "bob", 0) == 1
    for store in stores:
        store.close()


def test_a_schema_with_other_tables_is_left_alone(url: str):
    """A shop's own table ``users`` is never taken for ours."""
    address = parse(url)
    with psycopg.connect(address.conninfo) as db:
        db.execute(f"CREATE SCHEMA {address.schema}")
        db.execute(f"CREATE TABLE {address.schema}.users (name text)")
    with pytest.raises(Refused, match="other tables with our names"):
        CartStore.open(catalog=url, segments="/nowhere")


def test_a_store_of_a_later_version_is_refused(client: Client, url: str):
    """It says what to upgrade."""
    client.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(StoreTooNew, match="upgrade"):
        CartStore.open(catalog=url)


def test_a_catalog_that_lost_a_table_is_called_damaged(client: Client, store: CartStore):
    """The name of the table is told."""
    client.execute("DROP TABLE batches")
    with pytest.raises(StoreCorrupt, match="batches"):
        store.status()


def _of(change: Callable[[str], str]) -> Callable[[], str]:
    return lambda: change(postgres.server().url())


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        (lambda: postgres.server().url("no_such_shop"), StoreNotFound, "createdb"),
        (_of(lambda url: url.replace("postgres@", "stranger@")), StoreReadOnly, "rights"),
        (lambda: "postgresql://me:secret@127.0.0.1:1/shop", StoreUnreachable, "does not answer"),
        (lambda: postgres.server().url(schema="Shop"), Refused, "small letters"),
        (lambda: postgres.server().url(pool="0"), Refused, "pool is '0'"),
        (lambda: postgres.server().url(colour="red"), Refused, "colour"),
        (lambda: "mysql://localhost/shop", Refused, "must be postgresql://"),
        (lambda: postgres.server().new_database("-E", "LATIN1", "-T", "template0"), StoreError, "UTF8"),
    ],
)
def test_what_cannot_be_opened_is_told_without_secrets(
    tmp_path: Path, address: Callable[[], str], kind: type[CartError], words: str
):
    """Each reason has its own error and advice; a password never shows."""
    with pytest.raises(kind, match=words) as told:
        CartStore.open(catalog=address(), segments=str(tmp_path))
    assert "secret" not in str(told.value)


def test_a_store_is_made_only_where_that_is_wanted(url: str):
    """Reading commands do not lay tables."""
    with pytest.raises(StoreNotFound, match="no store in this database"):
        CartStore.open(catalog=url, segments="/nowhere", create=False)


def test_a_user_without_rights_to_write_reads_and_no_more(client: Client, store: CartStore, url: str):
    """Analysts may be given a role that can only read."""
    store.append(CART, [MUG], "ann", 0)
    role, address = f"reader_{parse(url).schema}", parse(url)
    client.execute(f"CREATE ROLE {role} LOGIN")
    client.execute(f"GRANT USAGE ON SCHEMA {address.schema} TO {role}")
    client.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {address.schema} TO {role}")
    with CartStore.open(store.path, catalog=url.replace("postgres@", f"{role}@"), create=False) as reading:
        assert [each.version for each in reading.read(CART)] == [1]
        with pytest.raises(StoreReadOnly, match="refuses"):
            reading.append(CART, [POT], "ann", 1)


def test_a_schema_that_was_made_for_a_user_is_enough(url: str, tmp_path: Path):
    """Whoever owns an empty schema needs no right to make one."""
    address = parse(url)
    role = f"owner_{address.schema}"
    with psycopg.connect(address.conninfo) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        admin.execute(f"CREATE SCHEMA {address.schema} AUTHORIZATION {role}")
    with CartStore.open(catalog=url.replace("postgres@", f"{role}@"), segments=str(tmp_path)) as store:
        assert store.append(CART, [MUG], "ann", 0) == 1
        assert store.forget("ann")
    with pytest.raises(StoreReadOnly, match="refuses"):
        CartStore.open(catalog=postgres.server().fresh().replace("postgres@", f"{role}@"), segments=str(tmp_path))


def _files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_p12_no_table_on_the_servers_disk_holds_a_forgotten_user(client: Client, store: CartStore):
    """Neither the table of users nor what the server gathers about it; only its write-ahead log may, for a time."""
    user = "margarete-unmistakable-9137"
    store.append_many([*life("a", user), *life("b", "bob")])
    client.execute("ANALYZE")
    client.execute("CHECKPOINT")
    tables = postgres.server().data / "base"
    assert _files_with(tables, user.encode())
    assert store.forget(user)
    client.execute("CHECKPOINT")
    assert _files_with(tables, user.encode()) == []
    assert {each.user_id for each in store.read(named("b"))} == {"bob"}


@pytest.fixture
def older(client: Client) -> Iterator[Client]:
    """A transaction that began before whatever comes, and may look at what was there then."""
    options = client.info.get_parameters().get("options", "")
    with psycopg.connect(client.info.dsn, options=options, autocommit=True) as opened:
        opened.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        opened.execute("SELECT 1")
        yield opened


def test_p12_a_transaction_that_may_still_see_a_user_is_told(client: Client, store: CartStore, older: Client):
    """Bytes that an older snapshot needs stay; forgetting again when it is over removes them."""
    user = "margarete-unmistakable-2846"
    store.append_many(life("a", user))
    store.catalog._timeout_s = 0.1
    with pytest.raises(StoreBusy, match="forget again"):
        store.forget(user)
    older.execute("COMMIT")
    store.forget(user)
    client.execute("CHECKPOINT")
    assert _files_with(postgres.server().data / "base", user.encode()) == []


def test_p12_forgetting_waits_for_a_transaction_that_is_soon_over(client: Client, store: CartStore, older: Client):
    """Such as the server's own analysis of a table: nobody is told to come again."""
    store.append(CART, [MUG], "margarete", 0)
    told: list[bool] = []
    forgetting = threading.Thread(target=lambda: told.append(store.forget("margarete")))
    forgetting.start()
    paused = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND application_name = 'cart'"
    while not client.execute(paused).fetchone()[0]:
        pass
    older.execute("COMMIT")
    forgetting.join()
    assert told == [True]


def test_p12_forgetting_leaves_segments_alone_that_lie_in_the_stores_own_folder(store: CartStore):
    """A user whose id is also the name of a product is forgotten, and no sealed file is touched."""
    store.append_many(life("a", "Mug"))
    store.seal()
    assert store.forget("Mug")
    assert store.verify().problems == []
    assert {each.user_id for each in store.read(named("a"))} == {"forgotten-1"}
