"""URLs of a manager."""

from __future__ import annotations

from django.urls import URLResolver, include, path
from django.urls.resolvers import RoutePattern

from http_base.docs import docs_urls

urlpatterns = [
    URLResolver(RoutePattern("admin/"), "manager_app.console.site"),
    *docs_urls,
    path("", include("manager_app.urls")),
]
handler400 = "http_base.exceptions.handler400"
handler403 = "http_base.exceptions.handler403"
handler404 = "http_base.exceptions.handler404"
handler500 = "http_base.exceptions.handler500"
