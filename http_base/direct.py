"""Answers of operations without Django, for requests without content negotiation.

Input, checks, services and errors are the operation's, and so the same as through its view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from http_base.calls import StoredBatches
from http_base.exceptions import failure_headers, to_failure
from http_base.negotiation import JSON_RENDERER, MSGPACK_RENDERER
from http_base.request_metrics import OK, REQUEST_TIMES, seconds_since
from myqueue.contract.inputs import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import msgspec

    from http_base.calls import DirectCall, Operation

Headers = list[tuple[bytes, bytes]]


class DirectAnswer(NamedTuple):
    """Status, headers and body of a response."""

    status: int
    headers: Headers
    body: bytes
    code: str
    """`OK`, or that of the error."""


async def answer_directly(
    operation: Operation,
    call: DirectCall,
    *,
    method: str,
    path: str,
    more_headers: Callable[[], Mapping[str, str]] = dict,
) -> DirectAnswer:
    """Answer a call; every error becomes a failure body.

    Args:
        operation: what is asked for.
        call: the request.
        method: of the request.
        path: of the request; both are logged with the traceback of a bug.
        more_headers: returns those that every answer has; none when left out.
    """
    outcome: msgspec.Struct | StoredBatches | BaseException
    try:
        outcome = await operation(call)
    except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
        outcome = error
    answer = answer_of(outcome, call, method=method, path=path, more_headers=more_headers)
    count_answer(answer, call, method=method, path=path)
    return answer


def count_answer(answer: DirectAnswer, call: DirectCall, *, method: str, path: str) -> None:
    """Count an answer that was made, in the context of its request."""
    REQUEST_TIMES[method, path, answer.code].add(seconds_since(call.begun_s))


def answer_of(
    outcome: msgspec.Struct | StoredBatches | BaseException,
    call: DirectCall,
    *,
    method: str,
    path: str,
    more_headers: Callable[[], Mapping[str, str]] = dict,
) -> DirectAnswer:
    """Return the answer to a call of which it is known what came out; see `answer_directly`.

    It is not counted yet.
    """
    if isinstance(outcome, BaseException):
        failure = to_failure(outcome, method=method, path=path)
        content, extra = failure.to_body(), {**failure_headers(failure), **more_headers()}
        return _encoded(failure.http_status, content, call, extra, code=failure.code)
    if isinstance(outcome, StoredBatches):
        extra = {**outcome.headers, **more_headers()}
        return _answer(200, outcome.body, BATCH, extra, code=OK)
    return _encoded(200, outcome, call, more_headers(), code=OK)


def _encoded(
    status: int, content: object, call: DirectCall, extra: Mapping[str, str], *, code: str
) -> DirectAnswer:
    renderer = MSGPACK_RENDERER if call.takes_msgpack else JSON_RENDERER
    body = renderer.encoder.encode(content)
    return _answer(status, body, renderer.media_type, extra, code=code)


def _answer(
    status: int, body: bytes, media_type: str, extra: Mapping[str, str], *, code: str
) -> DirectAnswer:
    headers = [(b"content-type", media_type.encode())]
    if extra:
        headers += [(name.lower().encode(), value.encode()) for name, value in extra.items()]
    headers.append((b"content-length", b"%d" % len(body)))
    return DirectAnswer(status, headers, body, code)
