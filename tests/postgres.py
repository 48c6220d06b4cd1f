"""A PostgreSQL server on this machine, for tests and benchmarks: one for a process, a schema for each store."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest

TRIES = 5
ACCOUNTS = ("postgres", "nobody")
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=60")


def programs() -> Path | None:
    """The folder of the server's programs; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Server:
    """A server of its own, in a temporary folder, on a free port of 127.0.0.1.

    The server refuses to run as root, so root gives it to another account, which has to reach its folder.
    """

    def __init__(self, bin_folder: Path, settings: tuple[str, ...] = ()) -> None:
        self._bin = bin_folder
        self._settings = settings
        self.home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.data = self.home / "data"
        self.port = 0
        self._account = self._give_away() if os.geteuid() == 0 else None
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def __enter__(self) -> Self:
        for attempt in range(TRIES):
            self.port = _free_port()
            try:
                self.start()
            except subprocess.CalledProcessError:  # another process took the port meanwhile
                if attempt == TRIES - 1:
                    raise
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> None:
        """Start it on its port, and wait until it answers."""
        told = " ".join(f"-c {each}" for each in self._settings)
        options = f"-p {self.port} -k '' -h 127.0.0.1 {told}"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.home / "log", "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it, in the middle of whatever it does unless ``how`` is kinder."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", how, "stop")

    def url(self, database: str = "postgres", **options: str) -> str:
        """The address of a database; ``options`` such as ``schema`` go into its query."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}" + (f"?{query}" if query else "")

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which the programs of PostgreSQL and ``postgresql:///database`` find this server."""
        found = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres"}
        return found | {"PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}"}

    def fresh(self) -> str:
        """The address of a store that is not there yet."""
        return self.url(schema=f"store_{uuid4().hex[:12]}")

    def new_database(self, *options: str) -> str:
        """The address of a new database."""
        name = f"shop_{uuid4().hex[:12]}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *options, name)
        return self.url(name)

    def _give_away(self) -> str:
        known = {line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
        account = next(name for name in ACCOUNTS if name in known)
        shutil.chown(self.home, account)
        self.home.chmod(0o755)
        return account

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            check=True,
            cwd=self.home,
            user=self._account,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@cache
def server() -> Server:
    """The one server of this process, as quick as one that may lose its data; skips the test where there is none."""
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    return Server(folder, QUICK).__enter__()


def stop() -> None:
    """Stop the server of this process, if one was started."""
    if server.cache_info().currsize:
        server().__exit__()
        server.cache_clear()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
