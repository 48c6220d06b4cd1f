"""Finding a store: by its folder, its settings file, or its catalog alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cart_core import settings
from cart_core.errors import CartError, Refused, StoreNotFound, StoreReadOnly
from cart_core.store import CartStore, opening
from tests import postgres
from tests.cart_core.store.builders import MUG, named

CART = named("cart")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that exists and is empty."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.mark.postgres
def test_a_settings_file_names_the_catalog_and_the_segments(folder: Path, tmp_path: Path):
    """Whoever opens the folder reads and writes there; a relative place is meant from the folder on."""
    opening.write_settings(folder, {"catalog": postgres.server().fresh(), "segments": "../files"})
    with CartStore.open(folder) as store:
        store.append(CART, [MUG], "ann", 0)
        store.seal()
    assert len(list((tmp_path / "files").glob("*.parquet"))) == 1
    assert not (folder / "catalog.sqlite").exists()
    with CartStore.open(folder, create=False) as again:
        assert again.position() == 1


@pytest.mark.postgres
def test_every_host_looks_for_the_segments_in_the_same_place(tmp_path: Path):
    """Where they lie is settled in the catalog by the host that made the store, also in its own folder."""
    url = postgres.server().fresh()
    with CartStore.open(tmp_path / "first host", catalog=url) as first:
        first.append(CART, [MUG], "ann", 0)
        first.seal()
    with CartStore.open(tmp_path / "second host", catalog=url) as second:
        assert [each.version for each in second.read(CART)] == [1]
        assert second.folder.folder == tmp_path / "first host" / "segments"
    with pytest.raises(Refused, match="keeps its segments at"):
        CartStore.open(tmp_path / "third host", catalog=url, segments=str(tmp_path / "elsewhere"))


@pytest.mark.postgres
def test_a_store_is_found_by_its_catalog_alone(tmp_path: Path):
    """Once its segments are settled in a folder, that folder also holds what else belongs to it."""
    url = postgres.server().fresh()
    with pytest.raises(StoreNotFound, match="say where the segments"):
        CartStore.open(catalog=url)
    CartStore.open(catalog=url, segments=str(tmp_path / "files")).close()
    with CartStore.open(catalog=url) as store:
        assert store.path == tmp_path / "files"


@pytest.mark.postgres
@pytest.mark.s3
def test_without_a_folder_caches_go_where_caches_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With segments on an object store nothing else names a place on this disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = postgres.server().fresh()
    with CartStore.open(catalog=url, segments="s3://bucket/shop?endpoint=http://127.0.0.1:1") as store:
        assert store.path.parent == tmp_path / "cart-workbench"
        assert "postgres" in store.path.name


def test_a_settings_file_is_for_its_owner_alone(folder: Path):
    """A URL may hold a password."""
    opening.write_settings(folder, {"catalog": "postgresql://me:secret@host/shop"})
    assert stat.S_IMODE((folder / "store.toml").stat().st_mode) == 0o600
    assert settings.read_file(folder) == {"catalog": "postgresql://me:secret@host/shop"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("catalog = 'postgresql://host/shop", "cannot be read"),
        ("catalogue = 'postgresql://host/shop'", "catalogue"),
        ("catalog = 5", "catalog"),
        ("catalog = 'mysql://host/shop'", "must be postgresql://"),
    ],
)
def test_a_settings_file_that_is_wrong_is_refused(folder: Path, text: str, words: str):
    """It says what is wrong with it."""
    (folder / "store.toml").write_text(text)
    with pytest.raises(Refused, match=words):
        CartStore.open(folder)


def test_an_argument_that_contradicts_the_settings_file_is_refused(folder: Path):
    """Neither is silently preferred; no password is shown."""
    opening.write_settings(folder, {"catalog": "postgresql://me:secret@host/shop"})
    with pytest.raises(Refused, match=r"store\.toml") as told:
        CartStore.open(folder, catalog="postgresql://me:secret@other/shop")
    assert "secret" not in str(told.value)


def test_a_folder_with_a_catalog_in_sqlite_gets_no_second_one(folder: Path):
    """Events in two catalogs could never be joined."""
    CartStore.open(folder).close()
    opening.write_settings(folder, {"catalog": "postgresql://me:secret@host/shop"})
    with pytest.raises(Refused, match="copy-store") as told:
        CartStore.open(folder)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [({}, StoreNotFound), ({"segments": "/nowhere"}, StoreNotFound), ({"path": "/proc/nowhere"}, StoreReadOnly)],
)
def test_a_store_that_is_not_named_or_cannot_be_made_is_told(arguments: dict[str, str], kind: type[CartError]):
    """Without a folder or a catalog there is nothing to open."""
    with pytest.raises(kind):
        CartStore.open(**arguments)


def test_what_is_only_read_is_not_made(tmp_path: Path):
    """Opening with create=False leaves no folder behind."""
    with pytest.raises(StoreNotFound, match="no store at"):
        CartStore.open(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()
