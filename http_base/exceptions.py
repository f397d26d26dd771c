"""The one way in which an exception becomes an answer: always one failure body.

`handle_exception` is DRF's exception handler; `handler400` to `handler500` are what the URLconfs
name, for what fails outside a view.
"""

from __future__ import annotations

import logging
import secrets
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.http import Http404, HttpResponse, UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.response import Response

from http_base.negotiation import JSON_RENDERER, MSGPACK_RENDERER
from http_base.request_marks import request_id
from http_base.writes import DATABASE_FAILURES, NothingWritten
from myqueue.contract import retry_after
from myqueue.contract.errors import (
    OUTCOME_UNKNOWN,
    DatabaseUnavailable,
    Forbidden,
    Internal,
    InvalidRequest,
    MessageTooLarge,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Overloaded,
    QueueError,
    UnauthorizedException,
    UnsupportedMediaType,
)
from myqueue.contract.inputs import MSGPACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

logger = logging.getLogger(__name__)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BY_STATUS: dict[int, type[QueueError]] = {
    HTTPStatus.BAD_REQUEST: InvalidRequest,
    HTTPStatus.UNAUTHORIZED: UnauthorizedException,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed,
    HTTPStatus.NOT_ACCEPTABLE: NotAcceptable,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: MessageTooLarge,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: UnsupportedMediaType,
}


def handle_exception(error: BaseException, context: Mapping[str, Any]) -> Response:
    """Answer an exception of a view with its failure body.

    Args:
        error: what was raised.
        context: DRF's: `view` and `request`.
    """
    request = context.get("request")
    method = getattr(request, "method", None) or "GET"
    failure = to_failure(error, method=method, path=getattr(request, "path", "") or "")
    response = Response(
        failure.to_body(), status=failure.http_status, headers=failure_headers(failure)
    )
    if isinstance(failure, MethodNotAllowed) and (view := context.get("view")) is not None:
        response["Allow"] = ", ".join(view.allowed_methods)
    return response


def to_failure(error: BaseException, *, method: str, path: str) -> QueueError:
    """Return the declared error that stands for `error`; a bug is logged with its traceback."""
    if isinstance(error, QueueError):
        return error
    if isinstance(error, DATABASE_FAILURES):
        return database_unavailable(error, method=method)
    return _of_drf(error, method) or _of_django(error, path) or internal_error(error, method=method)


def database_unavailable(error: BaseException, *, method: str) -> DatabaseUnavailable:
    """Log that the database cannot be used and return the error that says so."""
    logger.warning("the database cannot be used: %s", str(error).strip() or type(error).__name__)
    stored_nothing = method in _SAFE_METHODS or isinstance(error, NothingWritten)
    return DatabaseUnavailable(
        "the server's database cannot be used at the moment; try again",
        retry_after_ms=retry_after.DATABASE_MS,
        outcome=None if stored_nothing else OUTCOME_UNKNOWN,
    )


def internal_error(error: BaseException | None, *, method: str) -> Internal:
    """Log a bug under the request's id and return the error that repeats the id."""
    own_id = request_id() or secrets.token_hex(8)
    logger.error("Request %s failed", own_id, exc_info=error)
    unknown = None if method in _SAFE_METHODS else OUTCOME_UNKNOWN
    return Internal(
        f"the server failed; its log has the details under {own_id}",
        request_id=own_id,
        outcome=unknown,
    )


def failure_headers(failure: QueueError) -> dict[str, str]:
    """Return the headers of a failure: `Retry-After` (seconds) when there is a time to wait."""
    wait_ms = failure.retry_after_ms
    return {} if wait_ms is None else {"Retry-After": str(max(1, -(-wait_ms // 1000)))}


def failure_response(failure: QueueError, accept: str = "") -> HttpResponse:
    """Return a finished answer, for where no view is at work."""
    renderer = MSGPACK_RENDERER if MSGPACK in accept else JSON_RENDERER
    return HttpResponse(
        renderer.render(failure.to_body()),
        content_type=renderer.media_type,
        status=failure.http_status,
        headers=failure_headers(failure),
    )


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django finds suspicious."""
    return _answer(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django forbids."""
    return _answer(request, exception)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request for an unknown URL."""
    return _answer(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    """Answer a request that failed outside a view."""
    error, method = sys.exc_info()[1], request.method or "GET"
    failure: QueueError
    if error is None:
        failure = internal_error(None, method=method)
    else:
        failure = to_failure(error, method=method, path=request.path)
    return failure_response(failure, request.headers.get("Accept", ""))


def _answer(request: HttpRequest, error: Exception) -> HttpResponse:
    failure = to_failure(error, method=request.method or "GET", path=request.path)
    return failure_response(failure, request.headers.get("Accept", ""))


def _of_drf(error: BaseException, method: str) -> QueueError | None:
    match error:
        case drf.ValidationError():
            field, message = _first_problem(error.detail)
            return InvalidRequest(f"{field}: {message}" if field else message, field=field)
        case drf.MethodNotAllowed():
            return MethodNotAllowed(f"this URL does not take {method}")
        case drf.Throttled():
            wait_s = getattr(error, "wait", None)
            wait_ms = None if wait_s is None else int(wait_s * 1000)
            return Overloaded(str(error.detail), retry_after_ms=wait_ms)
        case drf.APIException():
            declared = _BY_STATUS.get(error.status_code)
            return declared(str(error.detail)) if declared else None
    return None


def _of_django(error: BaseException, path: str) -> QueueError | None:
    match error:
        case Http404():
            return NotFound(
                f"there is nothing at {path[:200]}{settings.NOT_HERE}; /docs lists what there is"
            )
        case PermissionDenied():
            return Forbidden(str(error))
        case RequestDataTooBig():
            return MessageTooLarge(str(error))
        case ValidationError():
            return InvalidRequest("; ".join(error.messages))
        case SuspiciousOperation() | UnreadablePostError():
            return InvalidRequest(str(error))
    return None


def _first_problem(detail: Any) -> tuple[str | None, str]:
    """Return (field, message) of the first problem in DRF's nested lists and dicts."""
    field: str | None = None
    while isinstance(detail, dict | list):
        if isinstance(detail, dict):
            name, detail = next(iter(detail.items()), ("", "invalid"))
            field = field or (None if name == "non_field_errors" else str(name))
        else:
            detail = next((part for part in detail if part), "invalid")
    return field or None, str(detail)
