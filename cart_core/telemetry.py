"""Traces by OpenTelemetry, on request: nothing is made, and nothing of it is loaded, unless an endpoint is named.

Spans carry counts, names of routes and outcomes; never a user's id, an event's content, or a query.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from cart_core.errors import Refused

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE = "cart-workbench"
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Tracing:
    """What was set up in this process; ``tracer`` is None where nothing was."""

    tracer: Any = None
    provider: Any = None


def set_up(environment: Mapping[str, str] = os.environ, exporter: Any = None) -> bool:
    """Send spans where OTEL_EXPORTER_OTLP_ENDPOINT says (or to an ``exporter``, at once); returns whether any are made.

    The other OTEL variables hold as the SDK documents them. Raises Refused (not_installed) where an endpoint is named
    and the extra ``telemetry`` is missing.
    """
    if exporter is None and not environment.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as error:
        raise Refused(
            "not_installed", f"tracing needs the extra telemetry: pip install 'cart-workbench[telemetry]' ({error})"
        ) from error
    tear_down()
    name = environment.get("OTEL_SERVICE_NAME") or SERVICE
    _Tracing.provider = TracerProvider(resource=Resource.create({"service.name": name}))
    processor = BatchSpanProcessor(OTLPSpanExporter()) if exporter is None else SimpleSpanProcessor(exporter)
    _Tracing.provider.add_span_processor(processor)
    _Tracing.tracer = _Tracing.provider.get_tracer("cart_core")
    return True


def flush() -> None:
    """Send what was not sent yet, as a process must that ends without a word, like a server's worker."""
    if _Tracing.provider is not None:
        _Tracing.provider.force_flush()


def tear_down() -> None:
    """Send what was not sent yet, and make no more spans."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider is not None:
        provider.shutdown()


def is_on() -> bool:
    """Whether spans are made."""
    return _Tracing.tracer is not None


@contextmanager
def request_span(name: str, headers: Mapping[bytes, bytes]) -> Iterator[Any]:
    """A span of a server's request, under the one that its ``traceparent`` header names. Only where ``is_on``."""
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    carrier = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()}
    above = TraceContextTextMapPropagator().extract(carrier)
    with _Tracing.tracer.start_as_current_span(name, context=above, kind=SpanKind.SERVER) as span:
        yield span


def mark_failed(span: Any) -> None:
    """Say that what a span stands for went wrong."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - an extra

    span.set_status(StatusCode.ERROR)


def traced(name: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Make each call of a function a span, with the counts of its answer; an error that it raises marks the span."""

    def around(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(function)
        def called(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
            tracer = _Tracing.tracer
            if tracer is None:
                return function(*arguments, **options)
            with tracer.start_as_current_span(name) as span:
                answer = function(*arguments, **options)
                span.set_attributes(_counts(answer))
                return answer

        return called

    return around


def _counts(answer: object) -> dict[str, int]:
    """The whole numbers of an answer, by their names."""
    if not is_dataclass(answer):
        return {}
    values = {each.name: getattr(answer, each.name) for each in fields(answer)}
    return {f"cart.{name}": value for name, value in values.items() if type(value) is int}
