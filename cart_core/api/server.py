"""The running server: its socket, its workers, its signals."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from cart_core import logs, telemetry
from cart_core.api import gate
from cart_core.api.app import create_app
from cart_core.api.metrics import FOLDER_VARIABLE
from cart_core.api.protocol import GuardedProtocol
from cart_core.api.settings import Settings, trust_from
from cart_core.service import PriceCatalogue
from cart_core.settings import parts
from cart_core.store import CartStore

KEEP_ALIVE_S = 75
SHUTDOWN_S = 30
BACKLOG = 2_048
CONNECTIONS = 4_096
SETTINGS_VARIABLE = "CART_API_SETTINGS"


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
    handler.setFormatter(logs.formatter())
    for logger in (gate.access_log, gate.error_log, logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.propagate = False
    gate.access_log.setLevel(logging.INFO if settings.access_log else logging.WARNING)
    telemetry.set_up()
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
