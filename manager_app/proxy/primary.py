"""Calls that change metadata, passed on by a standby to the primary: any address works.

The primary is asked once. A call that it has and does not answer is given up when another manager
takes over: what the one before had not stored by then it never will.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from django.conf import settings
from django.http import HttpResponse

from http_base.calls import origin_of
from http_base.cluster_http import CallFailed, ForwardedCall, NotSent
from http_base.tasks import cancel, spawn
from http_base.tokens import is_cluster_token
from myqueue.contract import retry_after
from myqueue.contract.errors import OUTCOME_UNKNOWN, PrimaryUnavailable, ReadOnlyManager
from myqueue.contract.http1 import PASSED_HEADER

if TYPE_CHECKING:
    from http_base.cluster_http import ClusterAnswer
    from http_base.views import ApiRequest
    from manager_app.runtime import ManagerRuntime

PASS_LIMIT_S = 130.0
"""For the primary to answer; longer than any of its calls takes."""
_ANSWER_HEADERS = ("Retry-After", "Allow")


class _Refusal(msgspec.Struct):
    code: str = ""


def may_pass(runtime: ManagerRuntime, request: ApiRequest) -> bool:
    """Tell whether a refused call is to be passed on: not by read-only managers, and not twice.

    Nor is that of a person who logged in here, which the primary would take for somebody else's.
    """
    by_session = request.caller is not None and request.caller.by_session
    return not (runtime.read_only or by_session or PASSED_HEADER in request.headers)


def speaker_of(request: ApiRequest) -> str:
    """Return the address of whoever makes a call, which a standby may have passed on."""
    passed = request.headers.get(PASSED_HEADER, "")
    if passed and is_cluster_token(settings.QUEUE.cluster_secret, passed):
        return request.told_origin
    return origin_of(request)


async def pass_to_primary(
    runtime: ManagerRuntime, request: ApiRequest, refusal: ReadOnlyManager
) -> HttpResponse:
    """Return what the primary answers to a call.

    Args:
        runtime: of this manager.
        request: the call.
        refusal: of this manager; it names the primary.

    Raises:
        PrimaryUnavailable: there is none, it does not answer, or it has just become none.
    """
    primary = refusal.details.get("primary")
    if not primary:
        raise _unavailable("no manager is the primary at the moment")
    call = ForwardedCall(
        request.method or "",
        request.get_full_path(),
        request.raw,
        content_type=request.content_type,
        accept=request.accept,
        token=request.bearer or "",
    )
    try:
        answer = await _ask(runtime, primary, call)
        is_refused = answer is not None and _is_no_primary(answer)
    except NotSent as error:
        raise _unavailable(f"the primary manager cannot be reached: {error}") from error
    except CallFailed as error:
        raise _unavailable(f"the primary manager did not answer: {error}", sent=True) from error
    if answer is None:
        raise _unavailable(f"{primary} did not answer, and is the primary no more", sent=True)
    if is_refused:
        raise _unavailable(f"{primary} is not the primary")
    return HttpResponse(
        answer.body,
        status=answer.status,
        content_type=answer.headers.get("content-type"),
        headers={
            name: answer.headers[name.lower()]
            for name in _ANSWER_HEADERS
            if name.lower() in answer.headers
        },
    )


async def _ask(runtime: ManagerRuntime, primary: str, call: ForwardedCall) -> ClusterAnswer | None:
    """Return the answer; None when another manager became the primary meanwhile."""
    asking = spawn(
        "passing a call on to the primary",
        runtime.primary.forward(primary, call, timeout_s=PASS_LIMIT_S),
        expected=(CallFailed,),
    )
    superseded = spawn("watching the primary", _superseded(runtime, primary))
    try:
        await asyncio.wait((asking, superseded), return_when=asyncio.FIRST_COMPLETED)
        return asking.result() if asking.done() else None
    finally:
        await cancel((asking, superseded))


def _is_no_primary(answer: ClusterAnswer) -> bool:
    """Tell whether the manager that was asked refused, because another one is the primary."""
    return (
        answer.status == ReadOnlyManager.http_status
        and answer.read(_Refusal).code == ReadOnlyManager.code
    )


async def _superseded(runtime: ManagerRuntime, primary: str) -> None:
    """Return when the metadata name another primary than one that they named."""
    metadata = runtime.metadata
    await metadata.wait_until(lambda: metadata.current.primary_address == primary, PASS_LIMIT_S)
    await metadata.wait_until(lambda: metadata.current.primary_address != primary, PASS_LIMIT_S)


def _unavailable(message: str, *, sent: bool = False) -> PrimaryUnavailable:
    return PrimaryUnavailable(
        f"{message}; try again",
        retry_after_ms=retry_after.PRIMARY_MS,
        outcome=OUTCOME_UNKNOWN if sent else None,
    )
