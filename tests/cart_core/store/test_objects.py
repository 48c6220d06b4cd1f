"""The address of an object store, and what its errors mean."""

from __future__ import annotations

import pytest

from cart_core.errors import Refused, StoreCorrupt, StoreNotFound, StoreReadOnly, StoreUnreachable
from cart_core.store.segments import objects
from cart_core.store.segments.objects import ObjectPlace

GIB = 2**30


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("s3://b/p", {}, ObjectPlace("b", "p")),
        ("s3://b", {}, ObjectPlace("b", "")),
        ("s3://b/p/q/", {"AWS_REGION": "eu-west-1"}, ObjectPlace("b", "p/q", region="eu-west-1")),
        ("s3://b/p", {"AWS_DEFAULT_REGION": "eu-west-2"}, ObjectPlace("b", "p", region="eu-west-2")),
        ("s3://b/p", {"AWS_ENDPOINT_URL": "http://m:9000"}, ObjectPlace("b", "p", endpoint="http://m:9000")),
        (
            "s3://b/p",
            {"AWS_ENDPOINT_URL": "http://m:9000", "AWS_ENDPOINT_URL_S3": "http://n:9000"},
            ObjectPlace("b", "p", endpoint="http://n:9000"),
        ),
        (
            "s3://b/p?endpoint=http://o:1&region=eu&cache=5GiB",
            {"AWS_ENDPOINT_URL": "http://m:9000", "AWS_REGION": "us", "CART_SEGMENT_CACHE": "1GiB"},
            ObjectPlace("b", "p", "http://o:1", "eu", 5 * GIB),
        ),
        ("s3://b/p", {"CART_SEGMENT_CACHE": "1024"}, ObjectPlace("b", "p", cache_bytes=1024)),
    ],
)
def test_an_address_says_more_than_the_environment(url: str, environment: dict[str, str], expected: ObjectPlace):
    """Options of the address win, then the usual AWS variables, then defaults."""
    assert objects.parse(url, environment) == expected


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("s3://key:secret@b/p", "credentials"),
        ("s3://b/p?secret_key=x", "'secret_key'"),
        ("s3:///p", "no bucket"),
        ("s3://b/p?cache=much", "'much'"),
        ("s3://b/p?cache=-1", "'-1'"),
    ],
)
def test_a_wrong_address_is_refused(url: str, wrong: str):
    """Above all one with credentials in it, which would end up in logs and in the catalog."""
    with pytest.raises(Refused, match=wrong) as refused:
        objects.parse(url, {})
    assert refused.value.code == "bad_settings"
    assert "x" not in str(refused.value).split()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7"), StoreUnreachable),
        (OSError("AWS Error SLOW_DOWN during GetObject operation: Please reduce"), StoreUnreachable),
        (OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied"), StoreReadOnly),
        (OSError("AWS Error NO_SUCH_BUCKET during PutObject operation"), StoreNotFound),
        (FileNotFoundError("Path does not exist"), StoreCorrupt),
        (ValueError("Corrupt page"), StoreCorrupt),
    ],
)
def test_errors_are_told_in_the_stores_words(error: Exception, expected: type[Exception]):
    """One line that says which file, what happened, and what to do."""
    with pytest.raises(expected, match="segment x") as told, objects.translated("segment x"):
        raise error
    assert "\n" not in str(told.value)
