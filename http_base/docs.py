"""The URLs that every server has for people: its root, and the documentation from local files.

What makes the documentation is imported when it is first asked for: it takes a server longer to
import than everything that its calls need.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from django.apps import apps
from django.http import HttpResponseRedirect
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from http_base import guard
from http_base.exceptions import failure_response
from http_base.home import HomeView, favicon
from http_base.views import ApiRequest
from myqueue.contract.errors import QueueError, UnauthorizedException

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


@cache
def _schema_view() -> Callable[[HttpRequest], HttpResponseBase]:
    from drf_spectacular import renderers
    from drf_spectacular.views import SpectacularAPIView

    view: Callable[[HttpRequest], HttpResponseBase] = SpectacularAPIView.as_view(
        renderer_classes=[
            renderers.OpenApiJsonRenderer2,  # first: browsers show it, and store what they do not
            renderers.OpenApiJsonRenderer,
            renderers.OpenApiYamlRenderer,
            renderers.OpenApiYamlRenderer2,
        ]
    )
    return view


@cache
def _docs_view() -> Callable[[HttpRequest], HttpResponseBase]:
    from drf_spectacular.views import SpectacularSwaggerView

    view: Callable[[HttpRequest], HttpResponseBase] = SpectacularSwaggerView.as_view(
        url_name="schema"
    )
    return view


@csrf_exempt  # as DRF's own views are
def schema(request: HttpRequest) -> HttpResponseBase:
    """Return the description of this server as OpenAPI."""
    return _refusal(request) or _schema_view()(request)


@csrf_exempt
def docs(request: HttpRequest) -> HttpResponseBase:
    """Return the page that shows the description and tries calls out."""
    return _refusal(request) or _docs_view()(request)


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    """Return the answer to who may not see the documentation; a browser is led to the log-in."""
    call = ApiRequest(request)
    try:
        guard.judge(call, None, {}, request=call.session_request)
    except QueueError as error:
        has_people = apps.is_installed("django.contrib.admin")
        if has_people and isinstance(error, UnauthorizedException) and "text/html" in call.accept:
            return HttpResponseRedirect(f"/admin/login/?next={request.path}")
        return failure_response(error, call.accept)
    return None


docs_urls = [
    path("", HomeView.as_view()),
    path("favicon.ico", favicon),
    path("schema", schema, name="schema"),
    path("docs", docs, name="docs"),
]
"""URL patterns for each role's URLconf."""
