"""The URLs that every server has for people: its root, and the documentation from local files."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from http_base.home import HomeView, favicon

docs_urls = [
    path("", HomeView.as_view()),
    path("favicon.ico", favicon),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]
"""URL patterns for each role's URLconf."""
