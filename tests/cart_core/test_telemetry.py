"""Traces: what is a span, what it says, and that nothing is made unless somebody asks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cart_core import telemetry
from cart_core.errors import ConcurrencyError
from cart_core.ingest import import_files
from cart_core.store import CartStore
from tests.cart_core.store.builders import MUG, life, named
from tests.conftest import REPOSITORY


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What was traced in a test."""
    exporter = InMemorySpanExporter()
    telemetry.set_up({}, exporter)
    yield exporter
    telemetry.tear_down()


def told(spans: InMemorySpanExporter) -> list[tuple[str, dict[str, object]]]:
    """Names and attributes of the spans, in the order they ended."""
    return [(each.name, dict(each.attributes)) for each in spans.get_finished_spans()]


def test_the_work_of_a_store_is_traced_with_counts(spans: InMemorySpanExporter, tmp_path: Path):
    """Appends, batches, seals, compactions and publishing, each a span."""
    with CartStore.open(tmp_path / "store") as store:
        store.append(named("a"), [MUG], "ann", 0)
        store.append_many(life("b"))
        store.seal()
        store.compact()
        store.publish()
    assert told(spans) == [
        ("store.append", {}),
        ("store.append_many", {"cart.appended": 5, "cart.carts": 1, "cart.position": 6}),
        ("store.seal", {"cart.rows": 6, "cart.files": 1}),
        ("store.compact", {"cart.before": 0, "cart.after": 0, "cart.swept": 0}),
        (
            "store.publish",
            {
                "cart.version": 0,
                "cart.files": 1,
                "cart.rows": 6,
                "cart.added": 1,
                "cart.removed": 0,
                "cart.rewritten": 0,
                "cart.unsealed": 0,
            },
        ),
    ]


def test_an_error_marks_its_span(spans: InMemorySpanExporter, tmp_path: Path):
    """And is raised as it would be without tracing."""
    with CartStore.open(tmp_path / "store") as store, pytest.raises(ConcurrencyError):
        store.append(named("a"), [MUG], "ann", 5)
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.events[0].attributes)["exception.type"] == "cart_core.errors.ConcurrencyError"


def test_an_import_holds_what_the_store_did_for_it(spans: InMemorySpanExporter, tmp_path: Path):
    """Spans lie in one another as the work does."""
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{json.dumps(each.to_json())}\n" for each in life("a")))
    with CartStore.open(tmp_path / "store") as store:
        import_files(store, "jsonl", [file])
    by_name = {each.name: each for each in spans.get_finished_spans()}
    assert by_name["store.append_many"].parent.span_id == by_name["import"].context.span_id
    assert dict(by_name["import"].attributes)["cart.rows"] == 5


def test_nothing_is_made_unless_an_endpoint_is_named(tmp_path: Path):
    """Without one, the libraries are not even loaded."""
    assert telemetry.set_up({}) is False
    assert telemetry.set_up({telemetry.ENDPOINT: ""}) is False
    assert not telemetry.is_on()
    program = (
        "import sys; from cart_core.store import CartStore; from cart_core import telemetry; "
        f"telemetry.set_up({{}}); CartStore.open({str(tmp_path / 's')!r}).seal(); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
