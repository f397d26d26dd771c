"""Changes of people and their groups, which every process has to learn of, whoever makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models.signals import m2m_changed, post_save, pre_delete

if TYPE_CHECKING:
    from django.apps.registry import Apps

_SAYS_NOTHING = {frozenset({"last_login"}), frozenset({"password"})}
"""Fields of a person that are stored alone, and say nothing of what that person may do."""


def connect(apps: Apps) -> None:
    """Watch the people and groups of these apps."""
    user, group = apps.get_model("auth", "User"), apps.get_model("auth", "Group")
    for model in (user, group):
        post_save.connect(_saved, model, dispatch_uid=f"access.{model.__name__}.saved")
        # Before: the API tokens of a person go in the same transaction, and under its fence.
        pre_delete.connect(_changed, model, dispatch_uid=f"access.{model.__name__}.deleted")
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
