"""The URLs of the documentation: `/schema` is the document, `/docs` shows it from local files."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

docs_urls = [
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]
"""URL patterns for each role's URLconf."""
