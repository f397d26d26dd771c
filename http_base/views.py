"""What every view of the API derives from.

`AsyncAPIView` is for hot paths: its handlers are coroutines, and it does no more than negotiate,
call and answer. It is called by `HotPaths` and by Django's own handler alike. `ApiView` is DRF's
ordinary view with the same helpers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl

import msgspec
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from http_base import tokens
from http_base.exceptions import handle_exception
from http_base.negotiation import (
    BATCH_RENDERER,
    JSON_RENDERER,
    MSGPACK_RENDERER,
    MsgpackRenderer,
    body_limit,
    decode_body,
)
from myqueue.contract.errors import InvalidRequest, UnauthorizedException
from myqueue.contract.inputs import BATCH, JSON, MAX_JSON_BODY_BYTES, MSGPACK, read_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.renderers import BaseRenderer

QUERY_FIELDS_MAX = 100
"""Most parameters in a query string."""
INT64_MAX = (1 << 63) - 1

_T = TypeVar("_T", bound=msgspec.Struct)
_NOT_READ: Any = object()
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
        self._json_bytes_max = json_bytes_max
        self._payload: Any = _NOT_READ

    @property
    def data(self) -> Any:
        """The decoded body; `bytes` for a record batch; {} when it is empty.

        Raises:
            QueueError: it is too large, of an unknown type or malformed.
        """
        if self._payload is _NOT_READ:
            content_type = self.content_type
            body = self._request.read(body_limit(content_type, self._json_bytes_max) + 1)
            self._payload = decode_body(body, content_type, self._json_bytes_max)
        return self._payload


class _Helpers(APIView):
    """What both kinds of views have."""

    format_kwarg = None
    """There are no format suffixes in URLs."""
    json_bytes_max: ClassVar[int] = MAX_JSON_BODY_BYTES
    """Longest JSON or MessagePack body; of a longer one than usual `HotPaths` has to know too."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        """Wrap Django's request."""
        return ApiRequest(request, json_bytes_max=self.json_bytes_max, negotiator=_NEGOTIATOR)

    def perform_content_negotiation(
        self, request: Request, force: bool = False
    ) -> tuple[BaseRenderer, str]:
        """Choose the renderer; the usual values of Accept need no search."""
        renderer = _RENDERER_BY_ACCEPT.get(request.META.get("HTTP_ACCEPT", ""))
        if renderer is not None:
            return renderer, renderer.media_type
        chosen: tuple[BaseRenderer, str] = super().perform_content_negotiation(request, force)
        return chosen

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
        if renderer is BATCH_RENDERER and not isinstance(response.data, bytes):
            renderer = JSON_RENDERER
        content = renderer.render(response.data)
        finished = HttpResponse(content, content_type=response.content_type or renderer.media_type)
        finished.status_code = response.status_code
        for name, value in response.items():
            finished.headers.setdefault(name, value)
        finished.headers["Content-Length"] = str(len(content))
        return finished

    def read(self, request: Request, input_type: type[_T]) -> _T:
        """Return the input of a call, from its body and its query string; the query wins.

        Of a call with a record batch only the query is read; the batch is `request.data`.

        Raises:
            QueueError: the body or a field is wrong; the message names it.
        """
        body = request.data
        query = read_query(request.META.get("QUERY_STRING", ""))
        value = read_input(input_type, None if isinstance(body, bytes) else body, query)
        for name in input_type.__struct_fields__:
            number = getattr(value, name)
            if type(number) is int and not -INT64_MAX <= number <= INT64_MAX:
                raise InvalidRequest(f"{name} does not fit into 64 bits", field=name)
        return value

    def respond(
        self, answer: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return a success."""
        assert answer.__struct_config__.tag == "success", answer
        return Response(answer, status=status, headers=headers)

    def respond_batches(self, body: bytes, headers: Mapping[str, str]) -> Response:
        """Return a success whose body are record batches as stored."""
        return Response(body, headers=headers, content_type=BATCH)


class ApiView(_Helpers):
    """An ordinary view: its handlers are plain methods and may use the ORM."""


class AsyncAPIView(_Helpers):
    """A hot view: its handlers are coroutines and never block."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for method in set(cls.http_method_names) - {"options"}:
            handler = getattr(cls, method, None)
            assert handler is None or iscoroutinefunction(handler), f"{handler} is no coroutine"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Keep the request, without the bound `head` of Django's: a reference cycle each time."""
        self.request = request  # type: ignore[assignment]  # `dispatch` wraps it
        self.args, self.kwargs = args, kwargs

    async def dispatch(  # type: ignore[override]  # Django awaits it when the handlers are async
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Negotiate, call the handler, answer."""
        self.headers: dict[str, str] = {}
        self.request = api_request = self.initialize_request(request, *args, **kwargs)
        try:
            renderer, media_type = self.perform_content_negotiation(api_request)
            api_request.accepted_renderer, api_request.accepted_media_type = renderer, media_type
            response = await self._call_handler(api_request)
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
            response = self.handle_exception(error)
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


def read_query(text: str) -> dict[str, str]:
    """Return the parameters of a query string.

    Raises:
        InvalidRequest: it is not UTF-8, has too many parameters, or one with two values.
    """
    if not text:
        return {}
    fields: dict[str, str] = {}
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the query string is not UTF-8: {error.reason}") from error
    except ValueError as error:
        raise InvalidRequest(
            f"the query string has more than {QUERY_FIELDS_MAX} parameters"
        ) from error
    for name, value in pairs:
        if fields.setdefault(name, value) != value:
            raise InvalidRequest(
                f"{name} is given twice, as {fields[name]!r} and as {value!r}", field=name
            )
    return fields


def bearer_token(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer ...`, or None."""
    return tokens.bearer_of(str(request.META.get("HTTP_AUTHORIZATION", "")))


def is_cluster(request: Request) -> bool:
    """Tell whether a manager or broker of this cluster sent the request."""
    token = bearer_token(request)
    return token is not None and tokens.is_cluster_token(settings.QUEUE.cluster_secret, token)


def require_cluster(request: Request) -> None:
    """Let only managers and brokers of this cluster pass.

    Raises:
        UnauthorizedException: the bearer token is not the cluster's.
    """
    if not is_cluster(request):
        raise UnauthorizedException("this call needs the cluster's token")


def wants_batches(request: Request) -> bool:
    """Tell whether the answer should be record batches as stored."""
    return BATCH in request.META.get("HTTP_ACCEPT", "")


def wants_msgpack(request: Request) -> bool:
    """Tell whether the answer is MessagePack, which takes texts and bytes as they are."""
    return isinstance(getattr(request, "accepted_renderer", None), MsgpackRenderer)
