"""Changes of people and their groups, which every process has to learn of, whoever makes them.

And their log-ins, which are events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import m2m_changed, post_save, pre_delete

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.contrib.auth.models import User
    from django.http import HttpRequest

_SAYS_NOTHING = {frozenset({"last_login"}), frozenset({"password"})}
"""Fields of a person that are stored alone, and say nothing of what that person may do."""


def connect(apps: Apps) -> None:
    """Watch the people and groups of these apps."""
    user, group = apps.get_model("auth", "User"), apps.get_model("auth", "Group")
    for model in (user, group):
        post_save.connect(_saved, model, dispatch_uid=f"access.{model.__name__}.saved")
        # Before: the API tokens of a person go in the same transaction, and under its fence.
        pre_delete.connect(_changed, model, dispatch_uid=f"access.{model.__name__}.deleted")
    user_logged_in.connect(_logged_in, dispatch_uid="access.logged_in")
    user_logged_out.connect(_logged_out, dispatch_uid="access.logged_out")
    user_login_failed.connect(_login_failed, dispatch_uid="access.login_failed")
    for link in (user.groups, user.user_permissions, group.permissions):
        m2m_changed.connect(_linked, link.through, dispatch_uid=f"access.{link.through.__name__}")


def _saved(*, raw: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    if not raw and update_fields not in _SAYS_NOTHING:
        _changed()


def _linked(*, action: str, **_: Any) -> None:
    if action.startswith("post_"):
        _changed()


def _changed(**_: Any) -> None:
    from manager_app.services.access import access_changed

    access_changed()


def _logged_in(*, request: HttpRequest | None, user: User, **_: Any) -> None:
    _note_login("logged in", user.get_username(), request, outcome="done")


def _logged_out(*, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:
        _note_login("logged out", user.get_username(), request, outcome="done")


def _login_failed(
    *, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Note a wrong log-in; what was typed as a name is kept if it is one: it may be a password."""
    from django.contrib.auth import get_user_model

    typed = str(credentials.get("username", ""))
    known = get_user_model().objects.filter(username=typed).exists()
    _note_login("log-in failed", typed if known else "", request, outcome="refused")


def _note_login(action: str, name: str, request: HttpRequest | None, *, outcome: str) -> None:
    from manager_app.models import Event, EventKind
    from manager_app.services.events import about, event_store

    origin = "" if request is None else str(request.META.get("REMOTE_ADDR", ""))
    who = f"User {name!r}" if name else "Somebody with a name that nobody has"
    said = {"logged in": "logged in", "logged out": "logged out"}.get(action, "failed to log in")
    event = Event(
        kind=EventKind.LOGIN,
        action=action,
        text=f"{who} {said}{f' from {origin}' if origin else ''}",
        about=about(person=name) if name else "",
        person=f"user {name!r}" if name else "",
        origin=origin,
        outcome=outcome,
    )
    event_store(event)
