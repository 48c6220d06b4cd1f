"""HTTP/1.1 on one connection: limits on what may be sent and how slowly, and a short way for hot calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cart_core import telemetry
from cart_core.api import gate
from cart_core.api.calls import Shop
from cart_core.api.hot import PATH, HotCall, Reply
from cart_core.api.problems import ApiProblem, response

HEADER_BYTES = 16 * 1024
HEADER_TIMEOUT_S = 10.0
Headers = Mapping[bytes, bytes]


class _Silent:
    """Stands where an ASGI cycle has an event that somebody waits for."""

    def set(self) -> None:
        """Nobody waits."""


class _HotCycle:
    """One hot call on its connection, as uvicorn's protocol knows its cycles."""

    __slots__ = ("_protocol", "_timer", "body", "call", "disconnected", "keep_alive", "more_body", "response_complete")
    message_event = _Silent()

    def __init__(self, protocol: GuardedProtocol, shop: Shop, path: re.Match[bytes], headers: Headers) -> None:
        self._protocol = protocol
        self._timer: asyncio.TimerHandle | None = None
        self.call = HotCall(shop, path["cart"], path["name"] or b"", headers, self.answer)
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False

    def answer(self, reply: Reply) -> None:
        """Send the reply, unless the caller has gone."""
        if self.response_complete:
            return
        self.response_complete = True
        self.stop_waiting()
        gone = self.disconnected or self._protocol.transport.is_closing()
        self.call.over(gate.NOT_ANSWERED if gone else reply.status)
        if not gone:
            self._protocol.send(reply, keep_alive=self.keep_alive and reply.keep_alive)

    def wait_for_body(self) -> None:
        """Give the rest of the body some seconds."""
        if self._timer is None:
            self._timer = self._protocol.loop.call_later(gate.BODY_TIMEOUT_S, self.refuse, gate.too_slow())

    def stop_waiting(self) -> None:
        """The body is there, or nobody wants it any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def refuse(self, problem: ApiProblem) -> None:
        """Answer before the body is whole: nothing more can be read from this connection."""
        self.keep_alive = False
        if not self.response_complete:
            self.call.refuse(problem)


class GuardedProtocol(HttpToolsProtocol):
    """A connection whose requests have a small head that arrives soon."""

    _in_head = False
    _refused = False
    _received_bytes = 0
    _chunk_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _hot: _HotCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._in_head = True
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._end_head()
        if self._hot is not None:
            self._hot.stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data in; a head that goes on for too long ends the connection."""
        self._chunk_bytes = len(data)
        self._received_bytes += self._chunk_bytes
        super().data_received(data)
        if self._refused:
            return
        if self._in_head:
            self._wait_for_head()
            if self._received_bytes > HEADER_BYTES:
                self._refuse(431, "headers_too_large", f"a request's head holds at most {HEADER_BYTES} bytes")
        elif self._hot is not None and self._hot.more_body:
            self._hot.wait_for_body()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, "malformed_request", msg)

    def on_message_begin(self) -> None:
        """Another request begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Let a request pass whose head is within limits."""
        self._end_head()
        self._refused = self._refused or self.transport.is_closing()
        if self._refused:
            return
        if max(self._received_bytes, self._chunk_bytes) > HEADER_BYTES and self._head_bytes() > HEADER_BYTES:
            self._refuse(431, "headers_too_large", f"a request's head holds at most {HEADER_BYTES} bytes")
        elif self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._refuse(503, "busy", "too many connections at the moment")
        else:
            self._received_bytes = 0
            self._hot = self._hot_cycle()
            if self._hot is None:
                super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on, unless the request was refused."""
        hot = self._hot
        if self._refused or (hot is not None and hot.response_complete):
            return
        if hot is None:
            super().on_body(body)
            return
        hot.body += body
        if len(hot.body) > gate.BODY_BYTES:
            hot.refuse(gate.too_large())

    def on_message_complete(self) -> None:
        """End a request, unless it was refused."""
        self._received_bytes = 0
        hot = self._hot
        if self._refused or (hot is not None and hot.response_complete):
            return
        if hot is None:
            super().on_message_complete()
            return
        hot.more_body = False
        hot.stop_waiting()
        hot.call.begin(bytes(hot.body))

    def send(self, reply: Reply, *, keep_alive: bool) -> None:
        """Send a whole answer, and go on with the next request."""
        lines = [STATUS_LINE[reply.status]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (reply.head, b"\r\n" if keep_alive else b"connection: close\r\n\r\n", reply.body)
        self.transport.write(b"".join(lines))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _hot_cycle(self) -> _HotCycle | None:
        """The cycle of a request that is a hot call in its plainest form, on a connection with nothing else to do.

        Where traces are made, every request goes through the application, which makes them.
        """
        path = PATH.fullmatch(self.url)
        if path is None or self.parser.get_method() != (b"POST" if path["name"] else b"GET"):
            return None
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or telemetry.is_on() or self.expect_100_continue or self.flow.write_paused:
            return None
        if self.parser.get_http_version() != "1.1":
            return None
        headers, shop = dict(self.headers), getattr(getattr(self.app, "state", None), "shop", None)
        if shop is None or len(headers) < len(self.headers) or b"upgrade" in headers:
            return None
        cycle = _HotCycle(self, shop, path, headers)
        cycle.keep_alive = self.parser.should_keep_alive()
        self.cycle = cycle  # type: ignore[assignment]
        try:
            gate.check_announced(headers)
        except ApiProblem as problem:
            cycle.refuse(problem)
        return cycle

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._head_is_late)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._received_bytes:
            self._refuse(408, "too_slow", f"the head took longer than {HEADER_TIMEOUT_S:.0f} seconds to arrive")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self._refused = True
        body = bytes(response(ApiProblem(status, code, detail), uuid4().hex).body)
        head = f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
