"""What every view of the API derives from: `ApiView`, of two kinds.

The handlers of an ordinary view are plain methods: it is DRF's view, runs in a thread and may use
the ORM. Those of a hot view are coroutines: it does no more than negotiate, call and answer, and is
called by `HotPaths` and by Django's own handler alike. What a handler does can be an operation
(`http_base.calls`), which `served_by` makes a handler of.
"""

from __future__ import annotations

from functools import wraps
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
from asgiref.sync import iscoroutinefunction, sync_to_async
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from http_base import guard
from http_base.apidoc import doc_of
from http_base.calls import StoredBatches, read_call
from http_base.exceptions import handle_exception
from http_base.negotiation import (
    BATCH_RENDERER,
    JSON_RENDERER,
    MSGPACK_RENDERER,
    BatchRenderer,
    MsgpackRenderer,
    body_limit,
    decode_body,
)
from http_base.request_metrics import OK, REQUEST_TIMES, seconds_since
from http_base.requests import HotRequest, client_address_of
from http_base.tokens import bearer_of
from myqueue.contract.http1 import ORIGIN_HEADER
from myqueue.contract.inputs import BATCH, JSON, MAX_JSON_BODY_BYTES, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.renderers import BaseRenderer

    from http_base.apidoc import ApiDoc
    from http_base.calls import AtOnce, Operation
    from http_base.guard import Caller

_T = TypeVar("_T", bound=msgspec.Struct)
_NOT_READ: Any = object()
_AUTHORIZATION = (b"authorization", "HTTP_AUTHORIZATION")
_ORIGIN = (ORIGIN_HEADER.lower().encode(), f"HTTP_{ORIGIN_HEADER.upper().replace('-', '_')}")
"""Its name as ASGI has it, and as Django has it."""
_NEGOTIATOR = DefaultContentNegotiation()
_RENDERER_BY_ACCEPT = {
    "": JSON_RENDERER,
    "*/*": JSON_RENDERER,
    JSON: JSON_RENDERER,
    MSGPACK: MSGPACK_RENDERER,
    BATCH: BATCH_RENDERER,
}


class ApiRequest(Request):
    """DRF's request, with the body decoded by msgspec under a cap, and no reference cycle."""

    def __init__(
        self, request: HttpRequest, *, json_bytes_max: int = MAX_JSON_BODY_BYTES, **kwargs: Any
    ) -> None:
        super().__init__(request, **kwargs)
        self.parser_context.clear()
        self._hot_headers = request.hot_headers if isinstance(request, HotRequest) else None
        self._json_bytes_max = json_bytes_max
        self._raw: bytes | None = None
        self.caller: Caller | None = None
        """Who calls, where that matters and is known before the handler looks."""
        self._payload: Any = _NOT_READ

    @property
    def raw(self) -> bytes:
        """The body as it came; one byte more than its cap when it is longer."""
        if self._raw is None:
            limit = body_limit(self.content_type, self._json_bytes_max)
            self._raw = self._request.read(limit + 1)
        return self._raw

    @property
    def data(self) -> Any:
        """The decoded body; `bytes` for a record batch; {} when it is empty.

        Raises:
            QueueError: it is too large, of an unknown type or malformed.
        """
        if self._payload is _NOT_READ:
            self._payload = decode_body(self.raw, self.content_type, self._json_bytes_max)
        return self._payload

    @property
    def query_string(self) -> str:
        """As it came, percent-encoded."""
        if isinstance(self._request, HotRequest):
            return self._request.query_string
        return str(self.META.get("QUERY_STRING", ""))

    @property
    def content_type(self) -> str:  # type: ignore[override]  # a property in DRF, too
        """The header, empty when there is none."""
        return self._header(b"content-type", "CONTENT_TYPE")

    @property
    def accept(self) -> str:
        """The header, empty when there is none."""
        return self._header(b"accept", "HTTP_ACCEPT")

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer ...`; None without one."""
        return bearer_of(self._header(*_AUTHORIZATION))

    @property
    def client_address(self) -> str:
        """Where the connection comes from, without the port; empty when that is not known."""
        scope = getattr(self._request, "scope", None)
        return client_address_of(scope) if scope else str(self.META.get("REMOTE_ADDR", ""))

    @property
    def told_origin(self) -> str:
        """What the call says of whom it is passed on for; empty when it does not."""
        return self._header(*_ORIGIN)

    @property
    def session_request(self) -> HttpRequest | None:
        """Django's request, if it came with the session of a person that is to be looked at."""
        came_directly = self._hot_headers is not None
        return None if came_directly or self._header(*_AUTHORIZATION) else self._request

    @property
    def takes_msgpack(self) -> bool:
        """True when the answer is MessagePack, which takes texts and bytes as they are."""
        return isinstance(getattr(self, "accepted_renderer", None), MsgpackRenderer)

    @property
    def takes_batches(self) -> bool:
        """True when the answer should be record batches as stored."""
        return BATCH in self.accept

    def _header(self, name: bytes, in_meta: str) -> str:
        if self._hot_headers is not None:
            return self._hot_headers.get(name, b"").decode("latin1")
        return str(self.META.get(in_meta, ""))


class ApiView(APIView):
    """A view of the API. Its handlers are all plain methods, or all coroutines that never block."""

    is_hot: ClassVar[bool] = False
    """True where the handlers are coroutines."""
    format_kwarg = None
    """There are no format suffixes in URLs."""
    json_bytes_max: ClassVar[int] = MAX_JSON_BODY_BYTES
    """Longest JSON or MessagePack body; of a longer one than usual `HotPaths` has to know too."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = set(cls.http_method_names) - {"options"}
        kinds = {iscoroutinefunction(getattr(cls, name)) for name in names if hasattr(cls, name)}
        assert len(kinds) <= 1, f"{cls} has plain handlers and coroutines"
        cls.is_hot = True in kinds

    @staticmethod
    def more_headers() -> Mapping[str, str]:
        """Return headers that every answer has, also one that is made without a view."""
        return {}

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Keep the request; on a hot view without Django's bound `head`, a reference cycle."""
        if not self.is_hot:
            super().setup(request, *args, **kwargs)
            return
        self.request = request  # type: ignore[assignment]  # `dispatch` wraps it
        self.args, self.kwargs = args, kwargs

    def dispatch(  # type: ignore[override]  # Django awaits it when the handlers are coroutines
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase | Coroutine[Any, Any, HttpResponseBase]:
        """Answer a request; a hot view returns what has to be awaited for the answer."""
        begun_s = perf_counter()
        if self.is_hot:
            return self._dispatch_hot(request, begun_s, *args, **kwargs)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        _count(request, response, begun_s)
        return response

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        """Wrap Django's request."""
        return ApiRequest(request, json_bytes_max=self.json_bytes_max, negotiator=_NEGOTIATOR)

    def perform_content_negotiation(
        self, request: Request, force: bool = False
    ) -> tuple[BaseRenderer, str]:
        """Choose the renderer; the usual values of Accept need no search."""
        assert isinstance(request, ApiRequest), request
        renderer = _RENDERER_BY_ACCEPT.get(request.accept)
        if renderer is not None:
            return renderer, renderer.media_type
        chosen: tuple[BaseRenderer, str] = super().perform_content_negotiation(request, force)
        return chosen

    def perform_authentication(self, request: Request) -> None:
        """Find out who calls, and refuse a call that needs more; DRF asks before each handler."""
        assert isinstance(request, ApiRequest), request
        request.caller = guard.judge(
            request, self._doc(request), self.kwargs, request=request.session_request
        )

    def _doc(self, request: ApiRequest) -> ApiDoc | None:
        method = request.method or ""
        return doc_of(self, "get" if method == "HEAD" else method)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer an exception with its failure body."""
        return handle_exception(exc, {"view": self, "request": self.request})

    def finalize_response(  # type: ignore[override]  # DRF itself takes any response here
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Encode the answer at once, unless a template has to be rendered."""
        if not isinstance(response, Response):
            return response
        renderer = getattr(request, "accepted_renderer", JSON_RENDERER)
        if renderer.format == "api":
            request.accepted_media_type = renderer.media_type
            return super().finalize_response(request, response, *args, **kwargs)
        if isinstance(renderer, BatchRenderer) and not isinstance(response.data, bytes):
            renderer = JSON_RENDERER
        content = renderer.render(response.data)
        response.content = content  # which makes it a rendered one
        response.headers["Content-Type"] = response.content_type or renderer.media_type
        response.headers["Content-Length"] = str(len(content))
        return response

    def read(self, request: ApiRequest, input_type: type[_T]) -> _T:
        """Return the input of a call; see `read_call`."""
        return read_call(request, input_type)

    def respond(
        self, answer: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return a success."""
        assert answer.__struct_config__.tag == "success", answer
        return Response(answer, status=status, headers=headers)

    def respond_batches(self, batches: StoredBatches) -> Response:
        """Return a success whose body are record batches as stored."""
        return Response(batches.body, headers=batches.headers, content_type=BATCH)

    async def _dispatch_hot(
        self, request: HttpRequest, begun_s: float, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Negotiate, call the handler, answer."""
        self.headers: dict[str, str] = {}
        self.request = api_request = self.initialize_request(request, *args, **kwargs)
        try:
            renderer, media_type = self.perform_content_negotiation(api_request)
            api_request.accepted_renderer, api_request.accepted_media_type = renderer, media_type
            if not guard.is_on() or api_request.session_request is None:
                self.perform_authentication(api_request)
            else:  # whose session it is, the database knows
                await sync_to_async(self.perform_authentication)(api_request)
            response = await self._call_handler(api_request)
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
            response = self.handle_exception(error)
        _count(request, response, begun_s)
        return self.finalize_response(api_request, response, *args, **kwargs)

    async def _call_handler(self, request: ApiRequest) -> HttpResponseBase:
        method = (request.method or "").lower()
        name = "get" if method == "head" else method
        handler = getattr(self, name, None) if name in self.http_method_names else None
        if handler is None:
            return self.http_method_not_allowed(request)
        if name == "options":
            options: HttpResponseBase = handler(request, *self.args, **self.kwargs)
            return options
        response: HttpResponseBase = await handler(request, *self.args, **self.kwargs)
        return response


def _count(request: HttpRequest, response: HttpResponseBase, begun_s: float) -> None:
    """Count a request with its operation, what came out and the time that it took."""
    found = request.resolver_match
    data = getattr(response, "data", None)
    code = OK
    if response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(data, dict):
        code = data["code"]
    route = found.route if found else request.path
    REQUEST_TIMES.add(request.method or "", route, code, seconds_since(begun_s))


def served_by(
    operation: Operation, *, at_once: AtOnce | None = None
) -> Callable[[Any, ApiRequest], Coroutine[Any, Any, Response]]:
    """Return the handler of a view that answers as an operation does, with its description.

    `HotPaths` finds the operation there, and asks it itself where nothing is to be negotiated.

    Args:
        operation: what answers.
        at_once: does the same without a coroutine, where it can.
    """

    @wraps(operation)
    async def handler(self: ApiView, request: ApiRequest) -> Response:
        answer = await operation(request)
        if isinstance(answer, StoredBatches):
            return self.respond_batches(answer)
        return self.respond(answer)

    handler.operation = operation  # type: ignore[attr-defined]
    handler.at_once = at_once  # type: ignore[attr-defined]
    return handler


def operations_of(view: Any) -> dict[str, Operation]:
    """Return the operations that a view of `as_view` serves, by HTTP method."""
    view_class = getattr(view, "view_class", None)
    handlers = {name.upper(): getattr(view_class, name, None) for name in APIView.http_method_names}
    return {
        method: operation
        for method, handler in handlers.items()
        if (operation := getattr(handler, "operation", None)) is not None
    }


def at_once_of(view: Any, method: str) -> AtOnce | None:
    """Return what does the same as the operation of a method without a coroutine, if anything."""
    handler = getattr(getattr(view, "view_class", None), method.lower(), None)
    at_once: AtOnce | None = getattr(handler, "at_once", None)
    return at_once


def more_headers_of(view: Any) -> Callable[[], Mapping[str, str]]:
    """Return what gives the headers that every answer of a view of `as_view` has."""
    more_headers: Callable[[], Mapping[str, str]] = view.view_class.more_headers
    return more_headers
