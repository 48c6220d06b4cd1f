"""An application that runs in a loop of its own, with an ordinary client in front."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI


class Pieces(httpx.AsyncByteStream):
    """A request's body, piece by piece."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._stream:
            yield piece


class LoopTransport(httpx.BaseTransport):
    """Hands requests to an application in another thread's loop, without a socket."""

    def __init__(self, app: FastAPI, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry out one request."""
        return asyncio.run_coroutine_threadsafe(self._handle(request), self._loop).result()

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        request.stream = Pieces(request.stream)
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread(), request=request)


@contextmanager
def looping(app: FastAPI) -> Iterator[LoopTransport]:
    """Start an application and give the way to it; stop it in the end."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def live() -> None:
        async with app.router.lifespan_context(app):
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    ready.wait()
    try:
        yield LoopTransport(app, loop)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@contextmanager
def running(app: FastAPI, **options: Any) -> Iterator[httpx.Client]:
    """Start an application and give a client of it; stop it in the end."""
    with (
        looping(app) as transport,
        httpx.Client(transport=transport, **{"base_url": "http://localhost", **options}) as client,
    ):
        yield client
