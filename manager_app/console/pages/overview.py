"""The overview: is it well, and if not, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manager_app.console.page import page

if TYPE_CHECKING:
    from django.http import HttpRequest


@page("console/overview.html", title="Overview")
def overview(_: HttpRequest) -> dict[str, Any]:
    """Show the cluster at a glance."""
    return {}
