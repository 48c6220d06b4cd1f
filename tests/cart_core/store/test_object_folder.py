"""Segments on an object store: faults of the server, hosts that share a bucket, and copies on this disk."""

from __future__ import annotations

import select
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from cart_core.errors import Refused, StoreCorrupt, StoreUnreachable
from cart_core.store import CartStore
from cart_core.store.segments.object_folder import RANGE_READS
from cart_core.store.upkeep import compaction
from tests.cart_core.store import buckets
from tests.cart_core.store.buckets import Bucket
from tests.cart_core.store.builders import MUG, life, named

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """An empty bucket, with credentials in the environment."""
    with buckets.credentials():
        yield buckets.new_bucket()


@pytest.fixture
def store(bucket: Bucket, tmp_path: Path) -> Iterator[CartStore]:
    """A store with one sealed cart, "a", whose segment lies in the bucket."""
    with CartStore.open(tmp_path / "store", segments=bucket.address()) as opened:
        opened.append_many(life("a"))
        opened.seal()
        yield opened


def copies(path: Path) -> list[str]:
    """The names of the copies on this disk."""
    return sorted(each.name for each in (path / "cache" / "segments").glob("*.parquet"))


def elsewhere(store: CartStore, path: Path, address: str | None = None) -> CartStore:
    """The same store as a host sees it that has the catalog and nothing else."""
    path.mkdir()
    with store.catalog.writing():
        shutil.copy(store.path / "catalog.sqlite", path)
        shutil.copy(store.path / "catalog.sqlite-wal", path)
    return CartStore.open(path, segments=address)


def swept(store: CartStore, older_than_s: float) -> int:
    """How many files that no catalog names and that are older than a moment a sweep removes."""
    return compaction._remove_strays(store.catalog, store.folder, store.indexes, older_than_s)


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@contextmanager
def cut_after(endpoint: str, limit_bytes: int) -> Iterator[str]:
    """The address of a server that passes on to ``endpoint`` and hangs up once it was sent so many bytes."""
    host, port = endpoint.removeprefix("http://").split(":")
    sent = 0

    class Cutting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            nonlocal sent
            with socket.create_connection((host, int(port))) as onward:
                while True:
                    for side in select.select([self.request, onward], [], [])[0]:
                        data = side.recv(4096)
                        sent += len(data) if side is self.request else 0
                        if not data or sent > limit_bytes:
                            return
                        (onward if side is self.request else self.request).sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Cutting) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_segments_lie_in_the_bucket_and_nothing_else_does(store: CartStore, bucket: Bucket):
    """One object for a segment, and one that says whose the prefix is."""
    assert bucket.names() == [bucket.segments()[0], "shop/_store.json"]
    assert store.status()["segments_at"] == f"s3://{bucket.name}/shop"


def test_a_store_whose_server_is_away_takes_appends_and_says_what_it_cannot(
    store: CartStore, bucket: Bucket, tmp_path: Path
):
    """The journal needs no server; a seal fails whole and is done when the server is back."""
    away = bucket.address().replace(bucket.endpoint, closed_port())
    with CartStore.open(store.path, segments=away) as cut_off:
        assert cut_off.append(named("b"), [MUG], "bob", 0) == 1
        assert len(cut_off.read(named("a"))) == 5
        with pytest.raises(StoreUnreachable, match=r"s3://.* does not answer .*try again"):
            cut_off.seal()
        assert cut_off.status()["journal_rows"] == 1
    assert store.seal().rows == 1
    with pytest.raises(StoreUnreachable, match="segment s3://"), elsewhere(store, tmp_path / "host", away) as host:
        host.read(named("a"))


def test_an_upload_that_breaks_off_leaves_nothing(store: CartStore, bucket: Bucket):
    """No object, no file on this disk, no segment in the catalog; the events stay in the journal."""
    store.append_many([each for number in range(400) for each in life(f"cart {number}")])
    before = bucket.names()
    with (
        cut_after(bucket.endpoint, 20_000) as cutting,
        CartStore.open(store.path, segments=bucket.address().replace(bucket.endpoint, cutting)) as cut,
        pytest.raises(StoreUnreachable),
    ):
        cut.seal()
    assert bucket.names() == before
    assert list((store.path / "cache" / "segments").glob("*.tmp")) == []
    assert (store.status()["journal_rows"], store.status()["segments"]) == (2_000, 1)
    assert store.seal().rows == 2_000
    assert store.verify().ok


def test_what_a_crash_leaves_in_the_bucket_is_swept(store: CartStore, bucket: Bucket):
    """A file that was uploaded and never named goes once it is old enough; what is named stays, however old."""
    with store.catalog.reading() as db:
        segment = store.reader.segments(db)[0]
    orphan = store.folder.write(store.folder.read(segment))
    assert len(bucket.segments()) == len(copies(store.path)) == 2
    assert swept(store, time.time() - 3600) == 0
    assert f"shop/{orphan.file}" in bucket.segments()
    assert swept(store, time.time() + 3600) == 1
    assert bucket.segments() == [f"shop/{segment.file}"]
    assert copies(store.path) == [segment.file]
    assert store.verify().ok


def test_files_that_compaction_replaced_go_after_their_grace(store: CartStore, bucket: Bucket):
    """From the bucket and from this disk."""
    store.append_many(life("b"))
    store.seal()
    before = bucket.segments()
    assert store.compact(grace=timedelta(hours=1)).after == 1
    assert set(before) < set(bucket.segments())
    assert store.compact(grace=timedelta(seconds=-1)).swept == 2
    assert [f"shop/{name}" for name in copies(store.path)] == bucket.segments()
    assert len(bucket.segments()) == 1
    assert store.scan().collect().height == 10


def test_a_missing_object_is_named(store: CartStore, bucket: Bucket, tmp_path: Path):
    """By verify on any host, and by whoever reads it."""
    bucket.client.delete_object(Bucket=bucket.name, Key=bucket.segments()[0])
    assert "is missing" in store.verify().problems[0]
    with elsewhere(store, tmp_path / "host") as host:
        with pytest.raises(StoreCorrupt, match=r"segment s3://.*\.parquet is missing: restore it"):
            host.read(named("a"))
        with pytest.raises(StoreCorrupt, match="is missing"):
            host.scan()


def test_an_altered_object_is_refused_and_named(store: CartStore, bucket: Bucket, tmp_path: Path):
    """A copy is compared with the hash in the catalog before anybody reads it."""
    key = bucket.segments()[0]
    altered = bytearray(bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read())
    altered[len(altered) // 2] ^= 1
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=bytes(altered))
    assert "its bytes are not those that were written" in store.verify().problems[0]
    with elsewhere(store, tmp_path / "host") as host:
        with pytest.raises(StoreCorrupt, match="its bytes are not those that were written"):
            host.scan()
        assert copies(host.path) == []


def test_another_host_reads_the_same(store: CartStore, tmp_path: Path):
    """From the catalog and the bucket alone: carts, frames, SQL and proofs."""
    store.append_many(life("b", "bob"))
    with elsewhere(store, tmp_path / "host") as host:
        assert host.folder.place == store.folder.place
        assert host.read(named("a")) == store.read(named("a"))
        assert host.scan().collect().sort("position").equals(store.scan().collect().sort("position"))
        with host.duckdb() as db:
            assert db.execute("SELECT count(*) FROM events").fetchall() == [(10,)]
        assert host.verify().problems == []


def test_a_few_carts_are_read_by_range_and_many_from_a_copy(store: CartStore, tmp_path: Path):
    """A file is not fetched for one cart; who keeps asking gets it once."""
    store.append_many([each for number in range(200) for each in life(f"cart {number}")])
    store.seal()
    with elsewhere(store, tmp_path / "host") as host:
        host.read(named("a"))
        for path in (host.path / "cache" / "segments").glob("*.parquet"):
            path.unlink()
        assert len(host.read(named("cart 7"))) == 5
        assert copies(host.path) == []
        for number in range(RANGE_READS + 1):
            assert len(host.read(named(f"cart {number}"))) == 5
        assert len(copies(host.path)) == 1


def test_a_frame_can_be_read_although_the_cache_is_full(store: CartStore, bucket: Bucket, tmp_path: Path):
    """What was handed out stays until the store is closed; then the bound holds again."""
    for number in range(3):
        store.append_many(life(f"cart {number}"))
        store.seal()
    small = bucket.address(options="&cache=1")
    with elsewhere(store, tmp_path / "host", small) as host:
        frame = host.scan()
        with host.duckdb() as db:
            assert db.execute("SELECT count(*) FROM events").fetchall() == [(20,)]
        assert len(copies(host.path)) == 4
        assert frame.collect().height == 20
    with CartStore.open(tmp_path / "host", segments=small) as host:
        host.folder._copies.evict()
        assert len(copies(host.path)) == 1
        assert host.scan().collect().height == 20


def test_two_stores_cannot_share_a_prefix(store: CartStore, bucket: Bucket, tmp_path: Path):
    """The sweep of one would remove the files of the other, so the second cannot even write."""
    with CartStore.open(tmp_path / "second", segments=bucket.address()) as second:
        second.append_many(life("b"))
        with pytest.raises(StoreCorrupt, match="belongs to another store"):
            second.seal()
        with pytest.raises(StoreCorrupt, match="belongs to another store"):
            swept(second, time.time() + 3600)
    assert store.verify().ok


def test_the_place_is_settled_when_the_store_is_made(store: CartStore, bucket: Bucket, tmp_path: Path):
    """Opening a store with another place would hide its events, so it is refused; another way there is fine."""
    with pytest.raises(Refused, match="keeps its segments at s3://"):
        CartStore.open(store.path, segments=bucket.address("other"))
    with pytest.raises(Refused, match="keeps its segments at s3://"):
        CartStore.open(store.path, segments=str(tmp_path / "segments"))
    with CartStore.open(store.path, segments=bucket.address(options="&region=eu-west-1")) as again:
        assert again.scan().collect().height == 5
    with CartStore.open(store.path) as again:
        assert again.scan().collect().height == 5


def test_a_store_with_local_segments_does_not_move_by_opening(bucket: Bucket, tmp_path: Path):
    """Before its first segment it may be given another place, afterwards not."""
    with CartStore.open(tmp_path / "store") as local:
        local.append_many(life("a"))
    with CartStore.open(tmp_path / "store", segments=str(tmp_path / "elsewhere")) as moved:
        moved.seal()
        assert len(list((tmp_path / "elsewhere").glob("*.parquet"))) == 1
    with pytest.raises(Refused, match="do not move by opening"):
        CartStore.open(tmp_path / "store", segments=bucket.address())
    with pytest.raises(Refused, match="s3://bucket/prefix"):
        CartStore.open(tmp_path / "store", segments="gopher://x")
