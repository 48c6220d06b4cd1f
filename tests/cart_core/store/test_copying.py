"""A store is copied to another catalog or place unchanged: there, and back, and onto an object store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cart_core.cli import app
from cart_core.errors import Refused, StoreBusy, StoreCorrupt
from cart_core.store import CartStore, opening
from cart_core.store.catalogs import catalog, users
from cart_core.store.copying import Contents, copy_store
from tests import postgres
from tests.cart_core.store import buckets
from tests.cart_core.store.builders import MUG, life, named

ELSEWHERE = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", marks=pytest.mark.postgres, id="postgresql"),
]


@pytest.fixture(params=ELSEWHERE)
def catalog_url(request: pytest.FixtureRequest) -> str | None:
    """The catalog of the copy: a file in its folder, or a schema on a server."""
    return postgres.server().fresh() if request.param == "postgresql" else None


@pytest.fixture
def store(durable: CartStore) -> CartStore:
    """A store with all there is: segments of both sorts, a journal, users, two forgotten ones, and tables beside it."""
    for user in ("ann", "bob", "late"):
        durable.append_many(life(f"cart of {user}", user))
        durable.seal()
    with CartStore.open(durable.path, clock=durable.clock, journal_rows=0) as bulk:
        bulk.append_many([*life("bulk"), *life("more", "bob")])
    durable.compact()
    durable.forget("bob")
    durable.forget("late")
    durable.append(named("live"), [MUG], "eve", 0, metadata={"note": "ß\n"})
    (durable.path / "derived").mkdir()
    (durable.path / "derived" / "table.parquet").write_bytes(b"a table")
    return durable


def contents(store: CartStore) -> Contents:
    """All that a store's catalog holds."""
    with store.catalog.reading() as db:
        return Contents.of(db)


def test_a_copy_is_the_same_store(store: CartStore, tmp_path: Path, catalog_url: str | None):
    """Events, positions, times, versions, users, batches and the chain's head; and the files beside them."""
    before = store.verify()
    done = copy_store(store, tmp_path / "copy", catalog_url=catalog_url)
    assert (done.events, done.users, done.head) == (26, 2, before.head)
    with CartStore.open(tmp_path / "copy", create=False) as copy:
        assert contents(copy) == contents(store)
        assert copy.verify() == before
        assert copy.scan().collect().sort("position").equals(store.scan().collect().sort("position"))
        assert (copy.path / "derived" / "table.parquet").read_bytes() == b"a table"


def test_a_copy_goes_on_as_the_store_would(store: CartStore, tmp_path: Path, catalog_url: str | None):
    """The next position follows, known ids are known, and nobody gets the pseudonym of a forgotten user."""
    copy_store(store, tmp_path / "copy", catalog_url=catalog_url)
    with CartStore.open(tmp_path / "copy") as copy:
        assert copy.append_many(life("cart of ann")).appended == 0
        assert copy.append(named("live"), [MUG], "new", 1) == 2
        assert copy.position() == store.position() + 1
        copy.seal()
        assert copy.verify().problems == []
        assert {each.user_id for each in copy.read(named("more"))} == {"forgotten-2"}
        with copy.catalog.reading() as db:
            assert catalog.find_user(db, "new") > users.last_key(db) - 1 >= 4


@pytest.mark.postgres
def test_a_store_comes_back_from_a_server_as_it_went(store: CartStore, tmp_path: Path):
    """To PostgreSQL and back to SQLite nothing has changed."""
    copy_store(store, tmp_path / "there", catalog_url=postgres.server().fresh())
    with CartStore.open(tmp_path / "there") as there:
        copy_store(there, tmp_path / "back")
    with CartStore.open(tmp_path / "back") as back:
        assert contents(back) == contents(store)
        assert back.verify() == store.verify()
        assert not (back.path / opening.SETTINGS).exists()


@pytest.mark.s3
def test_segments_may_go_onto_an_object_store_and_back(store: CartStore, tmp_path: Path):
    """The files are the same bytes there."""
    with buckets.credentials():
        bucket = buckets.new_bucket()
        copy_store(store, tmp_path / "there", segments=bucket.address())
        with CartStore.open(tmp_path / "there") as there:
            assert there.verify() == store.verify()
            assert len(bucket.segments()) == len(contents(store).segments)
            copy_store(there, tmp_path / "back")
        with CartStore.open(tmp_path / "back") as back:
            assert contents(back) == contents(store)


def test_segments_may_go_to_another_folder(store: CartStore, tmp_path: Path):
    """The copy remembers where they are."""
    copy_store(store, tmp_path / "copy", segments=str(tmp_path / "large disk"))
    with CartStore.open(tmp_path / "copy") as copy:
        assert copy.verify().problems == []
    assert len(list((tmp_path / "large disk").glob("*.parquet"))) == len(contents(store).segments)


def test_a_store_that_does_not_verify_is_not_copied(store: CartStore, tmp_path: Path, catalog_url: str | None):
    """An altered file is named, and nothing is left of the copy."""
    segment = contents(store).segments[0]
    file = store.path / "segments" / segment.file
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreCorrupt, match=segment.file):
        copy_store(store, tmp_path / "copy", catalog_url=catalog_url)
    assert not (tmp_path / "copy").exists()
    file.unlink()


def test_a_store_that_is_written_to_meanwhile_is_not_copied(
    store: CartStore, tmp_path: Path, catalog_url: str | None, monkeypatch: pytest.MonkeyPatch
):
    """Half of a move is none: it says to stop the writers, and then it goes."""
    verified = CartStore.verify

    def verify_while_somebody_appends(copy: CartStore) -> Any:
        with CartStore.open(store.path) as other:
            other.append(named(f"late {other.position()}"), [MUG], "ann", 0)
        return verified(copy)

    monkeypatch.setattr(CartStore, "verify", verify_while_somebody_appends)
    with pytest.raises(StoreBusy, match="stop its writers"):
        copy_store(store, tmp_path / "copy", catalog_url=catalog_url, segments=str(tmp_path / "files"))
    assert (list((tmp_path / "files").glob("*")), (tmp_path / "copy").exists()) == ([], False)
    monkeypatch.undo()
    done = copy_store(store, tmp_path / "copy", catalog_url=catalog_url, segments=str(tmp_path / "files"))
    assert done.events == store.position()


def test_a_target_that_holds_events_is_refused(store: CartStore, tmp_path: Path):
    """A folder that is not empty, and one inside of the store, are left as they are."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for target in (tmp_path / "full", store.path / "copy", store.path, store.path.parent):
        with pytest.raises(Refused, match=r"not empty|cannot lie"):
            copy_store(store, target)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert store.verify().problems == []


@pytest.mark.postgres
def test_a_catalog_that_holds_events_is_refused(store: CartStore, tmp_path: Path):
    """Another store's schema is not written to."""
    url = postgres.server().fresh()
    with CartStore.open(catalog=url, segments=str(tmp_path / "theirs")) as theirs:
        theirs.append(named("theirs"), [MUG], "ann", 0)
        with pytest.raises(Refused, match=r"holds events|segments at"):
            copy_store(store, tmp_path / "copy", catalog_url=url)
        with pytest.raises(Refused, match="holds events"):
            copy_store(store, tmp_path / "copy", catalog_url=url, segments=str(tmp_path / "theirs"))
        assert (theirs.position(), theirs.verify().problems) == (1, [])


def test_the_command_tells_what_it_copied(store: CartStore, tmp_path: Path, catalog_url: str | None):
    """`cart copy-store` moves a store, and `cart --store` finds the catalog of the copy by its settings file."""
    more = ["--to-catalog", catalog_url] if catalog_url else []
    run = CliRunner().invoke(app, ["--store", str(store.path), "copy-store", str(tmp_path / "copy"), *more, "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == {
        "events": 26,
        "segments": len(contents(store).segments),
        "users": 2,
        "head": store.verify().head,
    }
    check = CliRunner().invoke(app, ["--store", str(tmp_path / "copy"), "verify", "--json"])
    assert json.loads(check.stdout)["head"] == store.verify().head
