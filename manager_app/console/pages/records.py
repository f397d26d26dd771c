"""All tables of the manager as they are stored, for who wants to see rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from manager_app.console.page import page

if TYPE_CHECKING:
    from django.http import HttpRequest


@page("console/records.html", title="Records")
def records(request: HttpRequest) -> dict[str, Any]:
    """Show the lists of rows that the person may look at."""
    return {"apps": admin.site.get_app_list(request)}
