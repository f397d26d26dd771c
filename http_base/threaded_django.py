"""Django for views with plain handlers: one hop to a thread for all of a request.

`ASGIHandler` itself makes a hop for each side of each middleware, each in a thread that it starts
for the request alone, which then connects to the database: a millisecond of the loop and several
of the process for a look-up that takes a tenth of one.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import IO, TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.urls import Resolver404, resolve, set_script_prefix

from http_base.exceptions import failure_response
from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded

if TYPE_CHECKING:
    from concurrent.futures import Future

    from django.http.response import HttpResponseBase

    from http_base.hotpaths import App, Receive, Scope, Send
    from http_base.worker_threads import WorkerThreads

TURN_LIMIT_S = 8.0
"""For a request until one of the threads is free, in seconds; then it is refused, not begun."""


class ThreadedDjango(ASGIHandler):
    """Answers what resolves to a view with plain handlers; the rest goes to another application."""

    def __init__(
        self, awaited: App, threads: WorkerThreads, *, turn_limit_s: float = TURN_LIMIT_S
    ) -> None:
        """Stand before an application.

        Args:
            awaited: Django as it is: for views that are coroutines, files and unknown paths.
            threads: of the requests.
            turn_limit_s: for the wait for one of them, in seconds.
        """
        super().__init__()
        self.load_middleware(is_async=False)
        self._awaited = awaited
        self._threads = threads
        self._turn_limit_s = turn_limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not _is_plain(scope["path"]):
            await self._awaited(scope, receive, send)
            return
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        await self.send_response(await self._answer(scope, body), send)

    async def _answer(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        run = copy_context().run
        called: Future[HttpResponseBase] = self._threads.submit(run, self._respond, scope, body)
        answer = asyncio.wrap_future(called)
        done, _ = await asyncio.wait({answer}, timeout=self._turn_limit_s)
        if not done and called.cancel():
            body.close()
            return failure_response(
                Overloaded(
                    f"the requests before this one took more than {self._turn_limit_s:g} s",
                    retry_after_ms=retry_after.LIMIT_MS,
                )
            )
        return await answer

    def _respond(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        """Do in a thread all that Django does for a request."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        with body:
            request, refusal = self.create_request(scope, body)
            response: Any = refusal if request is None else self.get_response(request)
            assert not response.streaming, "what is read piece by piece keeps no thread"
            response._handler_class = self.__class__
            response.close()
        return response  # type: ignore[no-any-return]  # Django's own types say less


def _is_plain(path: str) -> bool:
    try:
        view = resolve(path).func
    except Resolver404:
        return False
    return not iscoroutinefunction(view)
