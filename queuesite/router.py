"""Which app's tables live in which database, by the role of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from manager_app.runtime import require_writable
from queuesite.conf import BROKER, MANAGER, TEST

if TYPE_CHECKING:
    from django.db.models import Model

DEFAULT_ALIAS = "default"
BROKER_ALIAS = "broker"
ALIASES_BY_ROLE = {
    MANAGER: frozenset({DEFAULT_ALIAS}),
    BROKER: frozenset({BROKER_ALIAS}),
    TEST: frozenset({DEFAULT_ALIAS, BROKER_ALIAS}),
}
BROKER_APPS = frozenset({"raft_app", "broker_app"})
METADATA_APP = "manager_app"
NO_METADATA = frozenset({"event"})
"""Models of that app which each manager writes, read-only ones too: the log-ins that it sees."""


class RoleRouter:
    """Answers from (app, role) and raises for what cannot be, instead of guessing."""

    def __init__(self, role: str | None = None) -> None:
        """Take the role of this process unless one is given."""
        self._role = role

    @property
    def role(self) -> str:
        """The role that the answers are for."""
        return self._role or settings.QUEUE.role

    def alias_of(self, app_label: str) -> str:
        """Return the database of an app.

        Raises:
            ImproperlyConfigured: this process has no such database.
        """
        alias = _alias(app_label)
        if alias not in ALIASES_BY_ROLE[self.role]:
            raise ImproperlyConfigured(
                f"a process with the role {self.role} has no tables of {app_label}"
            )
        return alias

    def db_for_read(self, model: type[Model], **_hints: Any) -> str:
        """Return the database to read `model` from."""
        return self.alias_of(model._meta.app_label)

    def db_for_write(self, model: type[Model], **_hints: Any) -> str:
        """Return the database to write `model` to.

        Raises:
            ReadOnlyManager: it belongs to the metadata, and this is a read-only manager. Whatever
                way led here, the admin or a task, nothing is written.
        """
        label = model._meta.app_label
        if label == METADATA_APP and model._meta.model_name not in NO_METADATA:
            require_writable()
        return self.alias_of(label)

    def allow_relation(self, first: Model, second: Model, **_hints: Any) -> bool:
        """Allow relations inside one database."""
        return _alias(first._meta.app_label) == _alias(second._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, **_hints: Any) -> bool:
        """Put each app's tables into its own database and nowhere else."""
        return db in ALIASES_BY_ROLE[self.role] and _alias(app_label) == db


def _alias(app_label: str) -> str:
    return BROKER_ALIAS if app_label in BROKER_APPS else DEFAULT_ALIAS
