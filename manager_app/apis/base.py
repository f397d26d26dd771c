"""What the views of a manager share."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rest_framework.response import Response

from http_base.views import ApiRequest, ApiView
from http_base.writes import DATABASE_FAILURES, write_watch
from manager_app import runtime
from manager_app.apis.acts import note_act, note_refusal, operates
from manager_app.database import answers_within
from manager_app.proxy.primary import PASS_LIMIT_S, may_pass, pass_to_primary
from myqueue.contract.errors import QueueError, ReadOnlyManager

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

    from manager_app.apis.acts import Act
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import Success

AGE_HEADER = "X-Metadata-Age-Ms"
"""Age of the metadata that an answer is made from, in milliseconds; -1 when there is none. It is on
every answer of a read-only manager, and on answers from memory while the database is away."""
READ_LIMIT_S = 1.0
"""For the database to answer a read that can be answered from memory as well."""
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
logger = logging.getLogger(__name__)


class ManagerView(ApiView):
    """Base of a manager's views.

    Plain handlers run in a thread and may use the database; `async` ones (hot views) run in the
    event loop and use the metadata in memory.
    """

    acts: ClassVar[Mapping[str, Act]] = {}
    """HTTP method -> what the events say of it; for each handler that changes something by a role
    or the right to manage, unless what it calls stores the event."""

    @property
    def runtime(self) -> ManagerRuntime:
        """The runtime of this process."""
        return runtime.current()

    @staticmethod
    def more_headers() -> Mapping[str, str]:
        """Return the age of the metadata when this manager is read-only."""
        present = runtime.installed()
        if present is None or not present.read_only:
            return {}
        return {AGE_HEADER: _age(present)}

    def dispatch(  # type: ignore[override]  # Django awaits it when the handlers are coroutines
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase | Coroutine[Any, Any, HttpResponseBase]:
        """Answer a request; around plain handlers, note whether the database was written to."""
        if self.is_hot:
            return super().dispatch(request, *args, **kwargs)
        with write_watch() as self._writes:
            return super().dispatch(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Find out who calls, and have the log say who changes something; see `ApiView`."""
        super().perform_authentication(request)
        assert isinstance(request, ApiRequest), request
        caller, doc = request.caller, self._doc(request)
        if caller is None or caller.is_cluster or doc is None or request.method not in _CHANGING:
            return
        if doc.access.role:
            logger.info(
                "%s at %s: %s %r",
                *(caller.holder.name, request.client_address, request.method, request.path),
            )

    def handle_exception(  # type: ignore[override]  # an answer of the primary is finished
        self, exc: Exception
    ) -> HttpResponseBase:
        """Answer an exception; when the database failed, say whether the write is stored.

        A write of metadata that a standby refused is passed on to the primary, and its answer is
        the answer.
        """
        if self.is_hot:
            return super().handle_exception(exc)
        request = cast("ApiRequest", self.request)
        if isinstance(exc, ReadOnlyManager) and may_pass(self.runtime, request):
            passing = pass_to_primary(self.runtime, request, exc)
            try:
                return self.runtime.run(passing, timeout_s=PASS_LIMIT_S)
            except QueueError as error:
                exc = error
        return super().handle_exception(self._writes.judge(exc))

    async def _call_handler(self, request: ApiRequest) -> HttpResponseBase:
        """Call the handler of a hot view; what a standby refuses is passed on to the primary."""
        try:
            return await super()._call_handler(request)
        except ReadOnlyManager as refusal:
            if not may_pass(self.runtime, request):
                raise
            return await pass_to_primary(self.runtime, request, refusal)

    def read_or_remember(
        self, read: Callable[[], Success], remember: Callable[[], Success]
    ) -> Response:
        """Answer from the database, or from memory while the database does not answer.

        A database that is known to be away is not waited for.

        Args:
            read: makes the answer from the database.
            remember: makes it from the metadata in memory.
        """
        metadata = self.runtime.metadata
        if not metadata.is_silent:
            try:
                with answers_within(READ_LIMIT_S):
                    return self.respond(read())
            except DATABASE_FAILURES as error:
                metadata.note_silence()
                logger.warning("answered from memory: %s", error)
        return self.respond(remember(), headers={AGE_HEADER: _age(self.runtime)})

    def finalize_response(  # type: ignore[override]  # the stubs leave out finished answers
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Note what was changed; add `X-Metadata-Age-Ms` on a read-only manager."""
        act = self.acts.get(request.method or "")
        if isinstance(response, Response) and isinstance(request, ApiRequest):
            is_change = request.method in _CHANGING and not self.is_hot
            if response.status_code == HTTPStatus.FORBIDDEN and is_change:
                note_refusal(act or operates("call refused"), request, response, self.kwargs)
            elif act is not None:
                note_act(act, request, response, self.kwargs)
        finished = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.more_headers().items():
            finished[name] = value
        return finished


def _age(present: ManagerRuntime) -> str:
    age_ms = present.metadata.age_ms
    return str(-1 if age_ms is None else age_ms)
