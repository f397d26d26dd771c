"""The Django application of the Raft groups of a broker."""

from __future__ import annotations

from django.apps import AppConfig


class RaftAppConfig(AppConfig):
    """Registers the models of the database `broker` and the checks of its durability."""

    name = "raft_app"
    verbose_name = "Raft"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from raft_app import checks

        checks.register_checks()
