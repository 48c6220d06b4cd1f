"""The running server: uvicorn with limits on what a connection may send and how slowly."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from cart_core.api import gate
from cart_core.api.app import create_app
from cart_core.api.metrics import FOLDER_VARIABLE
from cart_core.api.problems import ApiProblem, response
from cart_core.api.settings import Settings, trust_from
from cart_core.service import PriceCatalogue
from cart_core.settings import parts
from cart_core.store import CartStore

HEADER_BYTES = 16 * 1024
HEADER_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 75
SHUTDOWN_S = 30
BACKLOG = 2_048
CONNECTIONS = 4_096
SETTINGS_VARIABLE = "CART_API_SETTINGS"


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests have a small head that arrives soon."""

    _in_head = False
    _refused = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data in; a head that goes on for too long ends the connection."""
        super().data_received(data)
        if self._in_head and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > HEADER_BYTES:
                self._refuse(431, "headers_too_large", f"a request's head holds at most {HEADER_BYTES} bytes")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, "malformed_request", msg)

    def on_message_begin(self) -> None:
        """Another request begins."""
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_headers_complete(self) -> None:
        """Let a request pass whose head is within limits."""
        self._end_head()
        if self._refused:
            return
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEADER_BYTES:
            self._refuse(431, "headers_too_large", f"a request's head holds at most {HEADER_BYTES} bytes")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on, unless the request was refused."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request, unless it was refused."""
        if not self._refused:
            super().on_message_complete()

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._head_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._head_is_late)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(408, "too_slow", f"the head took longer than {HEADER_TIMEOUT_S:.0f} seconds to arrive")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self._refused = True
        body = bytes(response(ApiProblem(status, code, detail), uuid4().hex).body)
        head = f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Answer requests until the process gets SIGTERM or SIGINT; what is in flight then is answered first.

    ``tell`` is given one line with the address once connections are taken, port 0 being replaced by a free one.
    Writes one JSON object a line to standard error for each request. Raises OSError where the address is taken,
    StoreError where the store cannot be opened, SourceError where the catalogue cannot be read.
    """
    CartStore.open(settings.store, **parts()).close()
    if settings.prices is not None:
        PriceCatalogue.read(settings.prices)
    os.environ[SETTINGS_VARIABLE] = _packed(settings)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG) as listening,
    ):
        if settings.workers > 1:
            os.environ[FOLDER_VARIABLE] = folder
        config = uvicorn.Config(
            "cart_core.api.server:app_from_environment",
            factory=True,
            workers=settings.workers,
            http=GuardedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        tell(f"listening on http://{_authority(listening)}")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # uvicorn catches it first, stops in peace, and raises it once more
        if settings.workers == 1:
            uvicorn.Server(config).run([listening])
        else:
            Multiprocess(config, [listening]).run()


def _authority(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def app_from_environment() -> FastAPI:
    """The application of one worker, set up as ``serve`` was told."""
    settings = _unpacked(os.environ[SETTINGS_VARIABLE])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for logger in (gate.access_log, gate.error_log, logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.propagate = False
    gate.access_log.setLevel(logging.INFO if settings.access_log else logging.WARNING)
    return create_app(settings)


def _packed(settings: Settings) -> str:
    """Settings as text for workers; the secret of tokens stays in its own variable."""
    return json.dumps(
        {
            "store": str(settings.store),
            "host": settings.host,
            "port": settings.port,
            "workers": settings.workers,
            "prices": None if settings.prices is None else str(settings.prices),
            "access_log": settings.access_log,
        }
    )


def _unpacked(text: str) -> Settings:
    told = json.loads(text)
    prices = told.pop("prices")
    store = Path(told.pop("store"))
    return Settings(store=store, prices=None if prices is None else Path(prices), trust=trust_from(os.environ), **told)
