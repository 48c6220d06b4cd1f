"""A request is a span, where traces are made."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cart_core import telemetry
from cart_core.api import Settings, create_app
from cart_core.store import MemoryStore
from tests.cart_core.api.processes import served
from tests.cart_core.api.running import running

CART = "c0ffee00-0000-4000-8000-000000000001"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What was traced in a test."""
    exporter = InMemorySpanExporter()
    telemetry.set_up({}, exporter)
    yield exporter
    telemetry.tear_down()


@pytest.fixture
def client(spans: InMemorySpanExporter, store: MemoryStore) -> Iterator[httpx.Client]:
    """A client of a server that traces."""
    assert spans.get_finished_spans() == ()
    with running(create_app(Settings(Path("unused")), store)) as opened:
        yield opened


def test_a_request_is_a_span_of_its_route(client: httpx.Client, spans: InMemorySpanExporter):
    """Its path's ids are not in it, nor anything else of what it says."""
    body = {"productId": "secret-mug", "productName": "Mug", "priceCents": 2900}
    client.post(f"/v1/cart/{CART}/add", json=body)
    (span,) = [each for each in spans.get_finished_spans() if each.name.startswith("POST")]
    assert span.name == "POST /v1/cart/{cartId}/add"
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/cart/{cartId}/add",
        "http.response.status_code": 200,
    }
    assert "secret-mug" not in span.to_json()


def test_a_request_goes_on_with_its_callers_trace(client: httpx.Client, spans: InMemorySpanExporter):
    """As the W3C's header says, so that a shop's own spans hold ours."""
    client.get(f"/v1/cart/{CART}", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    (span,) = spans.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == SPAN


def test_a_refusal_is_no_failure_of_the_server(client: httpx.Client, spans: InMemorySpanExporter):
    """Its status is told, and the span is not marked."""
    client.post(f"/v1/cart/{CART}/checkout/start", json={})
    (span,) = spans.get_finished_spans()
    assert dict(span.attributes)["http.response.status_code"] == 409
    assert span.status.status_code is StatusCode.UNSET


class Collector(BaseHTTPRequestHandler):
    """Takes what is sent to it, as a collector of traces does."""

    def do_POST(self) -> None:
        """Keep the body and say thanks."""
        self.server.taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_running_server_sends_its_spans_and_writes_its_log_as_json(workers: str, tmp_path: Path):
    """Both asked for by a variable alone; hot calls are traced and logged like any other."""
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        collector.taken = []
        thread = Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        own = {"CART_LOG": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        with served(tmp_path / "store", "--workers", workers, environment=own) as (url, process):
            body = {"productId": "mug", "productName": "Mug", "priceCents": 2900}
            httpx.post(f"{url}/v1/cart/{CART}/add", json=body, timeout=60)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            assert process.stderr is not None
            lines = [json.loads(line) for line in process.stderr.read().splitlines() if line.startswith("{")]
        collector.shutdown()
        thread.join()
    told = [each for each in lines if each["logger"] == "cart_core.api.access"]
    assert [(each["level"], each["route"], each["status"]) for each in told] == [("info", "/v1/cart/{cartId}/add", 200)]
    assert {path for path, _ in collector.taken} == {"/v1/traces"}
    sent = b"".join(body for _, body in collector.taken)
    assert b"POST /v1/cart/{cartId}/add" in sent
    assert b"store.append" in sent
    assert b"mug" not in sent
