"""URLs of a broker."""

from __future__ import annotations

from django.urls import include, path

from http_base.docs import docs_urls

urlpatterns = [
    *docs_urls,
    path("console/", include("broker_app.console.urls")),
    path("", include("broker_app.urls")),
]
handler400 = "http_base.exceptions.handler400"
handler403 = "http_base.exceptions.handler403"
handler404 = "http_base.exceptions.handler404"
handler500 = "http_base.exceptions.handler500"
