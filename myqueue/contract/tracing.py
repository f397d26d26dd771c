"""Traces as W3C Trace Context has them: where a request or message belongs, and spans about it.

`traceparent` and `tracestate` are headers of requests and of messages, and are passed on whether or
not anybody records spans here. Spans need the packages of OpenTelemetry (`queuesite-client[otel]`)
and somewhere to send them: OTEL_EXPORTER_OTLP_ENDPOINT, or a provider that the program has set up.
Without that nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from myqueue.contract.records import MAX_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

    from myqueue.contract.records import Record

logger = logging.getLogger(__name__)

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
TRACESTATE_MAX = 512
"""Longest `tracestate` that is passed on, in characters."""
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LAST_EXPORT_S = 1.0
"""For the spans that are left when the program ends."""
LINKS_MAX = 100
"""Messages of a batch that its span links to."""
_API = "opentelemetry.trace"
_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,64})?",
    re.ASCII,
)
_STATE = re.compile(r"[ -~]*", re.ASCII)

Kind = Literal["SERVER", "CLIENT", "PRODUCER", "CONSUMER"]


class TraceContext(NamedTuple):
    """The place in a trace that a request or message belongs to."""

    traceparent: str
    tracestate: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say it."""
        state = {TRACESTATE: self.tracestate} if self.tracestate else {}
        return {TRACEPARENT: self.traceparent, **state}


def trace_context(headers: Mapping[str, str | bytes] | None) -> TraceContext | None:
    """Return what the headers of a request or message say; None when they say nothing valid."""
    parent = _text(headers, TRACEPARENT)
    if not _PARENT.fullmatch(parent):
        return None
    state = _text(headers, TRACESTATE)
    fits = len(state) <= TRACESTATE_MAX and _STATE.fullmatch(state)
    return TraceContext(parent, state if fits else "")


def placed(record: Record, place: TraceContext) -> Record:
    """Return a message that belongs there, unless it says that it belongs elsewhere.

    One without room for two headers more stays as it is.
    """
    headers = record.headers or {}
    if TRACEPARENT in headers or len(headers) + 2 > MAX_HEADERS:
        return record
    return record._replace(headers={**headers, **place.headers})


def header_lines(place: TraceContext | None) -> str:
    """Return the header lines of a request that belongs there, each ended by CR and LF."""
    if place is None:
        return ""
    return "".join(f"{name}: {value}\r\n" for name, value in place.headers.items())


def _text(headers: Mapping[str, str | bytes] | None, name: str) -> str:
    value = "" if headers is None else headers.get(name, "")
    return value.decode("latin1") if isinstance(value, bytes) else value


class Tracing:
    """Makes spans with the packages of OpenTelemetry, which are there."""

    def __init__(self, provider: TracerProvider) -> None:
        """Make spans at a provider."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation import tracecontext

        self._trace = trace
        self._tracer = provider.get_tracer("queuesite")
        self._propagator = tracecontext.TraceContextTextMapPropagator()

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Mapping[str, str | int],
        *,
        parent: TraceContext | None = None,
        links: Iterable[TraceContext] = (),
    ) -> Span:
        """Begin a span; whoever begins it ends it.

        Args:
            name: of the span.
            kind: what it is to the others.
            attributes: what is known of it.
            parent: where it belongs; None: to the span that is current, or nowhere.
            links: what else it is about.
        """
        linked = [self._trace.Link(self._span_context(one)) for one in links]
        return self._tracer.start_span(
            name,
            context=None if parent is None else self.context(parent),
            kind=self._trace.SpanKind[kind],
            attributes=dict(attributes),
            links=linked,
        )

    def place_of(self, span: Span) -> TraceContext | None:
        """Return where what belongs to a span is; None for a span that is nowhere."""
        said: dict[str, str] = {}
        self._propagator.inject(said, self._trace.set_span_in_context(span))
        return trace_context(said)

    def context(self, place: TraceContext) -> Context:
        """Return a place as OpenTelemetry has it."""
        return self._propagator.extract(place.headers)

    def fail(self, span: Span, error: BaseException) -> None:
        """Note that what a span is about has failed; it is not ended."""
        span.record_exception(error)
        span.set_status(self._trace.StatusCode.ERROR, str(error))

    def make_current(self, span: Span) -> Any:
        """Return a context manager: the span is current inside, notes an error, and ends."""
        return self._trace.use_span(
            span, end_on_exit=True, record_exception=True, set_status_on_exception=True
        )

    def _span_context(self, place: TraceContext) -> Any:
        return self._trace.get_current_span(self.context(place)).get_span_context()


_lock = threading.Lock()
_own: TracerProvider | None = None
"""The provider made here, of the endpoint."""
_given: TracerProvider | None = None


def use(provider: TracerProvider | None) -> None:
    """Have spans made at a provider; clients that exist already do not change. None: as before."""
    global _given
    _given = provider


def tracing_of(service: str) -> Tracing | None:
    """Return what makes spans in this process; None where nobody records any.

    The provider is the one of `use`, or the one that the program has set up, or where an endpoint
    is named one that exports there.

    Args:
        service: the name of the service, where OTEL_SERVICE_NAME does not say it.
    """
    if _given is not None:
        return Tracing(_given)
    named = any(os.environ.get(name) for name in ENDPOINT_VARIABLES)
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not named and _API not in sys.modules:
        return None
    try:
        from opentelemetry import trace

        present = trace.get_tracer_provider()
        if not isinstance(present, trace.ProxyTracerProvider):
            return Tracing(present)
        return Tracing(_exporting(service)) if named else None
    except ImportError as error:
        logger.warning("an endpoint for traces is set, and no spans are made: %s", error)
        return None


def _exporting(service: str) -> TracerProvider:
    """Return the one provider of this process that exports to the endpoint."""
    global _own
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as Provider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    with _lock:
        if _own is None:
            named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
            provider = Provider(resource=Resource.create(named), shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            atexit.register(_end, provider)
            _own = provider
        return _own


def _end(provider: Any) -> None:
    """Export what is left; an endpoint that does not answer holds the program up no longer."""
    ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    ending.start()
    ending.join(LAST_EXPORT_S)
