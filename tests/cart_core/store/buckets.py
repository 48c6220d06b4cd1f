"""An object store on this machine, for tests: one server for a run, a bucket for each test."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from uuid import uuid4

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "only-for-tests", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of its own, and the client that looks into it past our code."""

    name: str
    endpoint: str

    @property
    def client(self):
        """boto3's client."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - only tests with a bucket load it

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=CREDENTIALS["AWS_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def address(self, prefix: str = "shop", options: str = "") -> str:
        """The address of a store's segments in it."""
        return f"s3://{self.name}/{prefix}?endpoint={self.endpoint}{options}"

    def names(self) -> list[str]:
        """The keys of all objects."""
        return sorted(each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", []))

    def segments(self) -> list[str]:
        """The keys of the segments."""
        return [key for key in self.names() if key.endswith(".parquet")]


@cache
def server() -> str:
    """The address of the one server of this process."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - only tests with a bucket load it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    return f"http://{host}:{port}"


@contextmanager
def credentials() -> Iterator[None]:
    """The credentials of the tests in the environment, and no other way to any server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def new_bucket() -> Bucket:
    """An empty bucket on the server of this process."""
    made = Bucket(f"test-{uuid4().hex[:12]}", server())
    made.client.create_bucket(Bucket=made.name)
    return made
