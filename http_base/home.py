"""What stands at the root of a server: where everything else is, for people and for programs."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.views.decorators.cache import cache_control

from http_base.access import OPEN
from http_base.apidoc import describe
from http_base.views import ApiView
from myqueue.contract.answers import Success

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString
    from rest_framework.request import Request
    from rest_framework.response import Response

_ICON_AGE_S = 24 * 3600
_ICON = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAYAAABzenr0AAAARElEQVR42mNgGAWjAA2oJr/+T0s86oBRBwx+B4yC"
    "AQcCOxv/UwOPOmDUAUPXAaNgwMHXedz/aYFHHTDqgKHjgFEw4gAA/12wDnTYvQ0AAAAASUVORK5CYII="
)
"""Three coloured bars, as PNG."""
_CONSOLE = "/admin/"
_LINKS = {
    "admin": "the console",
    "console": "what this broker knows of its replicas",
    "docs": "every call of this server, to try out",
    "schema": "the same as OpenAPI",
    "readyz": "whether this server can do its work",
    "metrics": "figures for Prometheus",
}
"""Name of a link -> what is there."""
_PAGES = ("admin", "console")
"""Of a manager, and of a broker."""


class Home(Success, frozen=True):
    """Which server this is, and the addresses of what else it has."""

    server: str
    links: dict[str, str]


class HomeView(ApiView):
    """The root: the console or a page with links in a browser, links as JSON for programs."""

    @describe(
        summary="Tell what this server is and where its parts are",
        access=OPEN,
        answer=Home(server="Queue manager", links={"docs": "http://127.0.0.1:8000/docs"}),
        tags=["health"],
    )
    def get(self, request: Request) -> Response | HttpResponse:
        """Return the links; lead a browser to the console, where this server has one."""
        has_console = apps.is_installed("django.contrib.admin")
        if has_console and request.accepted_renderer.format == "api":
            return HttpResponseRedirect(_CONSOLE)
        paths = {"admin": _CONSOLE} if has_console else {"console": "/console/"}
        paths |= {name: f"/{name}" for name in _LINKS if name not in _PAGES}
        links = {name: request.build_absolute_uri(path) for name, path in paths.items()}
        server = settings.SPECTACULAR_SETTINGS["TITLE"]
        if request.accepted_renderer.format == "api":
            return HttpResponse(_page(server, links))
        return self.respond(Home(server=server, links=links))


@cache_control(max_age=_ICON_AGE_S)
def favicon(_request: HttpRequest) -> HttpResponse:
    """Return the icon that browsers ask for."""
    return HttpResponse(_ICON, content_type="image/png")


def _page(server: str, links: dict[str, str]) -> SafeString:
    items = format_html_join(
        "",
        '<li><a href="{}">{}</a>: {}</li>',
        ((url, name, _LINKS[name]) for name, url in links.items()),
    )
    return format_html(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>{}</title>'
        "<body style='font: 16px/1.6 sans-serif; max-width: 40em; margin: 3em auto'>"
        "<h1>{}</h1><ul>{}</ul></body></html>",
        server,
        server,
        items,
    )
