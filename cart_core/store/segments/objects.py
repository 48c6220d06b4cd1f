"""An object store as a place for files: its address, its settings, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

from cart_core import settings
from cart_core.errors import Refused, StoreCorrupt, StoreError, StoreNotFound, StoreReadOnly, StoreUnreachable

SCHEME = "s3://"
CACHE_BYTES = 20 * 2**30
CACHE_VARIABLE = "CART_SEGMENT_CACHE"
OPTIONS = ("endpoint", "region", "cache")
ATTEMPTS = 3
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0
AWAY = ("NETWORK_CONNECTION", "REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "INTERNAL_FAILURE", "curlCode")
DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN")


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """A bucket and prefix, and how to get there; ``cache_bytes`` bounds the copies kept on this disk."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None
    cache_bytes: int = CACHE_BYTES

    @property
    def url(self) -> str:
        """The place without the way to it: the same from every host."""
        return f"{SCHEME}{self.base}"

    @property
    def base(self) -> str:
        """Bucket and prefix as one path."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    def connect(self) -> FileSystem:
        """A file system; credentials come from the usual AWS variables and files. Nothing is asked of the server."""
        scheme, _, host = (self.endpoint or "").rpartition("://")
        return S3FileSystem(
            region=self.region or "us-east-1",
            scheme=scheme or "https",
            endpoint_override=host or None,
            allow_delayed_open=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        )


def parse(url: str, environment: Mapping[str, str] = os.environ) -> ObjectPlace:
    """The place that ``s3://bucket/prefix?endpoint=...&region=...&cache=20GiB`` names.

    What the URL does not say is taken from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION,
    and CART_SEGMENT_CACHE. Raises Refused (bad_settings) for anything else in it, above all for credentials.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [name for name in options if name not in OPTIONS]
    if "@" in parts.netloc or unknown:
        what = "credentials" if "@" in parts.netloc else f"the option {unknown[0]!r}"
        raise Refused(
            "bad_settings",
            f"the address of the segments holds {what}, but may have {', '.join(OPTIONS)} only: "
            "credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file of AWS",
        )
    if not parts.netloc:
        raise Refused("bad_settings", f"{url!r} names no bucket: write s3://bucket/prefix")
    return ObjectPlace(
        parts.netloc,
        parts.path.strip("/"),
        options.get("endpoint") or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"),
        options.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        _size_bytes(options.get("cache") or environment.get(CACHE_VARIABLE) or str(CACHE_BYTES)),
    )


def _size_bytes(text: str) -> int:
    try:
        return settings.size_bytes(text)
    except ValueError as error:
        raise Refused("bad_settings", f"the size of the cache is {text!r}, but must be {error}") from error


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the object store's errors into those of cart_core.errors, the one place where that happens."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise meaning(what, error) from error


def meaning(what: str, error: Exception) -> StoreError:
    """What an error of the object store means for the store."""
    text = str(error)
    if any(word in text for word in AWAY) or isinstance(error, TimeoutError):
        return StoreUnreachable(f"{what}: the object store does not answer ({_short(text)}): try again")
    if isinstance(error, PermissionError) or any(word in text for word in DENIED):
        return StoreReadOnly(f"{what}: access is refused ({_short(text)}): check credentials and policy")
    if "NO_SUCH_BUCKET" in text:
        return StoreNotFound(f"{what}: there is no such bucket ({_short(text)})")
    if isinstance(error, FileNotFoundError):
        return StoreCorrupt(f"{what} is missing: restore it from a backup or an older version of the object")
    return StoreCorrupt(f"{what} cannot be read: {_short(text)}")


def _short(text: str) -> str:
    found = re.search(r"AWS Error .*", text)
    return (found[0] if found else text).split("(Request ID")[0].strip()
