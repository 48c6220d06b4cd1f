"""A span for every request, where traces are made: its method, route and status, and nothing of what it says."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cart_core import telemetry

SERVER_ERROR = 500


class Traced:
    """An ASGI middleware outside of all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trace one request, as a part of what its ``traceparent`` header names."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = SERVER_ERROR

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with telemetry.request_span(scope["method"], dict(scope["headers"])) as span:
            try:
                await self._app(scope, receive, tell)
            finally:
                route = str(getattr(scope.get("route"), "path", "other"))
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.request.method", scope["method"])
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= SERVER_ERROR:
                    telemetry.mark_failed(span)
