"""What the views of a manager share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from http_base import views
from http_base.writes import DATABASE_FAILURES, write_watch
from manager_app import runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request
    from rest_framework.response import Response

    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import Success

AGE_HEADER = "X-Metadata-Age-Ms"
"""On every answer of a read-only manager, and on every answer from memory: how old the view of the
cluster is, in milliseconds; -1 when there is none."""
logger = logging.getLogger(__name__)


class _WithRuntime:
    """Access to the runtime."""

    @property
    def runtime(self) -> ManagerRuntime:
        """The runtime of this process."""
        return runtime.current()


class ManagerView(_WithRuntime, views.ApiView):
    """An ordinary view; it runs in a thread and may use the database."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer, watching what is written."""
        with write_watch() as self._writes:
            return super().dispatch(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer an exception; where the database failed, say whether anything was stored."""
        return super().handle_exception(self._writes.judge(exc))

    def read_or_remember(
        self, read: Callable[[], Success], remember: Callable[[], Success]
    ) -> Response:
        """Answer what `read` finds in the database, or what `remember` finds in memory without."""
        try:
            return self.respond(read())
        except DATABASE_FAILURES as error:
            logger.warning("answered from memory: %s", error)
            return self.respond(remember(), headers={AGE_HEADER: _age(self.runtime)})

    def finalize_response(  # type: ignore[override]  # the stubs leave out finished answers
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Add the age where it belongs."""
        return _with_age(super().finalize_response(request, response, *args, **kwargs))


class HotManagerView(_WithRuntime, views.AsyncAPIView):
    """A hot view; it runs in the loop and uses what is in memory."""

    def finalize_response(  # type: ignore[override]  # the stubs leave out finished answers
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Add the age where it belongs."""
        return _with_age(super().finalize_response(request, response, *args, **kwargs))


def _with_age(response: HttpResponseBase) -> HttpResponseBase:
    """Say how old a read-only manager's view is."""
    present = runtime.installed()
    if present is not None and present.read_only:
        response[AGE_HEADER] = _age(present)
    return response


def _age(present: ManagerRuntime) -> str:
    age_ms = present.metadata.age_ms
    return str(-1 if age_ms is None else age_ms)
