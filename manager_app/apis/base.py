"""What the views of a manager share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from http_base import views
from manager_app import runtime

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

    from manager_app.runtime import ManagerRuntime

AGE_HEADER = "X-Metadata-Age-Ms"
"""On every answer of a read-only manager: how old its view of the cluster is."""


class _ManagerView:
    """Access to the runtime, and the age of a read-only manager's view on each answer."""

    @property
    def runtime(self) -> ManagerRuntime:
        """The runtime of this process."""
        return runtime.current()

    def finalize_response(
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Add the age where it belongs."""
        made: HttpResponseBase = super().finalize_response(  # type: ignore[misc]  # of the view that this class is mixed into
            request, response, *args, **kwargs
        )
        present = runtime.installed()
        if present is not None and present.read_only:
            age_ms = present.metadata.age_ms
            made[AGE_HEADER] = str(-1 if age_ms is None else age_ms)
        return made


class ManagerView(_ManagerView, views.ApiView):
    """An ordinary view; it runs in a thread and may use the database."""


class HotManagerView(_ManagerView, views.AsyncAPIView):
    """A hot view; it runs in the loop and uses what is in memory."""
