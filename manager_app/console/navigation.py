"""The sidebar of the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import NoReverseMatch, reverse

if TYPE_CHECKING:
    from django.http import HttpRequest

GROUPS = (
    (
        "",
        (
            ("Overview", "monitoring", "console:overview", "view_cluster"),
            ("Topics", "view_list", "console:topics", "view_cluster"),
            ("Groups", "groups", "console:groups", "view_cluster"),
            ("Brokers", "dns", "console:brokers", "view_cluster"),
            ("Rebalance", "balance", "console:rebalance", "view_cluster"),
        ),
    ),
    (
        "Access",
        (
            ("Clients", "lan", "console:clients", "view_cluster"),
            ("Tokens", "key", "admin:manager_app_apitoken_changelist", "view_apitoken"),
            ("People", "person", "admin:auth_user_changelist", "auth.view_user"),
        ),
    ),
    (
        "History",
        (
            ("Events", "history", "console:events", "view_cluster"),
            ("Records", "table", "console:records", "view_cluster"),
        ),
    ),
)
"""(heading, (title, Material symbol, name of the URL, permission) each); pages that are not there
are left out."""


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar, as django-unfold wants it: what this person may see."""
    groups = []
    for heading, entries in GROUPS:
        items = [
            {"title": title, "icon": icon, "link": url, "active": _is_at(url, request.path)}
            for title, icon, name, permission in entries
            if (url := _url(name)) and _may(request, permission)
        ]
        if items:
            groups.append({"title": heading, "separator": bool(heading), "items": items})
    return groups


def _may(request: HttpRequest, permission: str) -> bool:
    full = permission if "." in permission else f"manager_app.{permission}"
    return request.user.has_perm(full)


def _url(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _is_at(url: str, path: str) -> bool:
    return path == url or (path.startswith(url) and url != reverse("admin:index"))
