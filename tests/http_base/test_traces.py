from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from http_base.cluster_http import ClusterCall, ClusterHttp
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from myqueue.contract.tracing import Tracing
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call

if TYPE_CHECKING:
    from http_base.threaded_django import ThreadedDjango
    from myqueue.contract.http1 import Request

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CAME = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
PLAIN = {"accept": "application/json"}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
def traced_app(django: ThreadedDjango, provider: TracerProvider) -> HotPaths:
    return HotPaths(
        django,
        views_for_tests.HOT_PATHS,
        bodies=MemoryBudget().bodies,
        tracing=Tracing(provider),
    )


async def test_a_request_of_a_trace_has_a_span(traced_app, spans) -> None:
    for target, status in (("/echo?topic=a&partition=0&offset=0", 200), ("/nowhere", 404)):
        spans.clear()
        answer = await call(traced_app, "GET", target, headers={**PLAIN, **CAME})
        (span,) = spans.get_finished_spans()
        path = target.partition("?")[0]
        assert (span.name, span.kind.name) == (f"GET {path}", "SERVER")
        assert f"{span.context.trace_id:032x}" == TRACE
        assert f"{span.parent.span_id:016x}" == PARENT
        assert span.attributes == {
            "http.request.method": "GET",
            "url.path": path,
            "client.address": "127.0.0.1",
            "queuesite.request_id": answer.headers["x-request-id"],
            "http.response.status_code": status,
        }


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-0-0-00"}, {"tracestate": "a=1"}])
async def test_a_request_of_no_trace_has_none(traced_app, spans, headers) -> None:
    answer = await call(
        traced_app, "GET", "/echo?topic=a&partition=0&offset=0", headers={**PLAIN, **headers}
    )
    assert answer.status == 200
    assert "x-request-id" not in answer.headers
    assert spans.get_finished_spans() == ()


class Asking:
    """An application that asks another server, whose answers have these headers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]) -> None:
        self.sent: list[Request] = []
        monkeypatch.setattr("http_base.connections.Connections.exchange", self._exchange)
        self._headers = headers

    async def _exchange(self, _address: str, request: Request, **_: object) -> Any:
        self.sent.append(request)
        return 200, self._headers, b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        http = ClusterHttp("secret")
        await http.call("http://127.0.0.1:1", ClusterCall("GET", "/x"), timeout_s=1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    @property
    def marks(self) -> dict[str, str]:
        """The header lines that differ from request to request."""
        (request,) = self.sent
        return dict(line.split(": ") for line in request.marks.splitlines())


@pytest.mark.parametrize("is_traced", [True, False])
async def test_what_is_passed_on_says_where_it_belongs(
    provider, spans, monkeypatch, is_traced
) -> None:
    asking = Asking(monkeypatch, {})
    tracing = Tracing(provider) if is_traced else None
    app = HotPaths(asking, {}, bodies=MemoryBudget().bodies, tracing=tracing)
    await call(app, "GET", "/y", headers={**CAME, "x-request-id": "r"})
    if is_traced:
        (span,) = spans.get_finished_spans()
        parent = f"00-{TRACE}-{span.context.span_id:016x}-01"
    else:
        parent = CAME["traceparent"]
    assert asking.marks == {
        "X-Request-Id": "r",
        "traceparent": parent,
        "tracestate": CAME["tracestate"],
    }


@pytest.mark.parametrize(("made", "taken"), [("there-1", "there-1"), ("no id", None)])
async def test_the_id_that_the_other_server_made_is_taken_over(monkeypatch, made, taken) -> None:
    asking = Asking(monkeypatch, {"x-request-id": made})
    app = HotPaths(asking, {}, bodies=MemoryBudget().bodies)
    answer = await call(app, "GET", "/y")
    assert asking.marks == {}
    assert answer.headers.get("x-request-id") == taken
    given = await call(app, "GET", "/y", headers={"x-request-id": "mine"})
    assert given.headers["x-request-id"] == "mine"
