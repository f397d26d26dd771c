"""URLs of a broker's own pages; included at `console/`.

The first request for one imports what makes them, so that the start of a broker waits for nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

app_name = "broker"


def _show(route: str, name: str) -> URLPattern:
    async def view(request: HttpRequest, **parts: Any) -> HttpResponse:
        pages: Any = import_module("broker_app.console.pages")
        answer: HttpResponse = await getattr(pages, name)(request, **parts)
        return answer

    return path(route, view, name=name)


urlpatterns = [
    _show("", "broker"),
    _show("replicas/", "replicas"),
    _show("replicas/<str:topic>/<int:partition>/", "replica"),
]
