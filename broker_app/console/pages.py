"""The pages on a broker's port: `/console/`, its replicas, one replica."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string

from broker_app import runtime as runtimes
from broker_app.console import facts
from http_base import guard
from http_base.access import VIEW
from http_base.exceptions import failure_headers, to_failure
from http_base.tokens import bearer_of
from myqueue.contract.errors import UnauthorizedException

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from broker_app.runtime import BrokerRuntime

_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'"
_ASK = 'Basic realm="queuesite: an API token as the password", charset="UTF-8"'
"""A broker knows no people: a browser asks for a token, and sends it as a password."""


def _page(
    template: str,
) -> Callable[[Callable[..., dict[str, Any]]], Callable[..., Any]]:
    """Make a view of what reads facts in the loop; a thread makes the page of them.

    With `QUEUE_AUTH=required` it needs the role viewer, as an API token: as bearer, or as the
    password that a browser asks for.
    """

    def decorate(read: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        @wraps(read)
        async def view(request: HttpRequest, **parts: Any) -> HttpResponse:
            if request.method not in ("GET", "HEAD"):
                return HttpResponseNotAllowed(["GET", "HEAD"])
            try:
                _require_viewer(request)
                shown = read(runtimes.current(), request, **parts)
            except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
                return await _refused(request, error)
            return await _made(request, template, shown)

        return view

    return decorate


async def _made(
    request: HttpRequest, template: str, shown: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Return a page; its template is filled in beside the loop."""
    text = await asyncio.to_thread(render_to_string, template, shown, request)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": _POLICY}
    return HttpResponse(text, status=status, headers=headers)


async def _refused(request: HttpRequest, error: Exception) -> HttpResponse:
    failure = to_failure(error, method=request.method or "GET", path=request.path)
    shown = {"title": "That cannot be shown", "failure": failure}
    page = await _made(request, "broker/refused.html", shown, status=failure.http_status)
    for name, value in failure_headers(failure).items():
        page[name] = value
    if isinstance(failure, UnauthorizedException):
        page["WWW-Authenticate"] = _ASK
    return page


def _require_viewer(request: HttpRequest) -> None:
    """Check that whoever asks may see metadata; reads memory alone.

    Raises:
        UnauthorizedException: it is not known who asks.
        Forbidden: who asks lacks the role viewer.
        NotReady: this broker has heard no manager yet.
    """
    if not guard.is_on():
        return
    header = request.headers.get("Authorization", "")
    token = bearer_of(header) or _password_of(header)
    if token is None:
        raise UnauthorizedException(f"this page needs an API token with {VIEW.words}")
    guard.require(guard.current().caller_of(token), VIEW)


def _password_of(header: str) -> str | None:
    """Return the password of a header `Basic ...`, or None."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text.partition(":")[2] or None


@_page("broker/broker.html")
def broker(runtime: BrokerRuntime, _: HttpRequest) -> dict[str, Any]:
    """Show the broker and its connections."""
    shown = facts.broker_facts(runtime)
    return {"title": f"Broker {shown.broker_id}", "broker": shown}


@_page("broker/replicas.html")
def replicas(runtime: BrokerRuntime, request: HttpRequest) -> dict[str, Any]:
    """List the replicas by topic and index."""
    topic = request.GET.get("topic", "").strip()
    page = facts.replicas_page(runtime, topic=topic, after=request.GET.get("after", ""))
    return {
        "title": "Replicas",
        "rows": page.rows,
        "topic": topic,
        "next_url": _url_of(request, after=page.next),
        "first_url": _url_of(request, after="") if request.GET.get("after") else "",
    }


@_page("broker/replica.html")
def replica(
    runtime: BrokerRuntime, request: HttpRequest, topic: str, partition: int
) -> dict[str, Any]:
    """Show one replica."""
    detail = facts.replica_detail(
        runtime,
        topic,
        partition,
        cursor=request.GET.get("cursor", ""),
        group=request.GET.get("group", ""),
    )
    return {
        "title": f"{topic}/{partition}",
        "detail": detail,
        "told": detail.facts.told,
        "status": detail.status,
        "cursors_url": _url_of(request, cursor=detail.cursors.next),
        "groups_url": _url_of(request, group=detail.groups.next),
    }


def _url_of(request: HttpRequest, **changes: str | None) -> str:
    """Return the query of the page with other keys; empty when there is nothing more."""
    if None in changes.values():
        return ""
    kept = {**request.GET.dict(), **changes}
    return f"?{urlencode({name: value for name, value in kept.items() if value})}"
