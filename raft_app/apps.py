"""The Django application of the Raft groups of a broker."""

from __future__ import annotations

from django.apps import AppConfig


class RaftAppConfig(AppConfig):
    """Registers the models of the database `broker`."""

    name = "raft_app"
    verbose_name = "Raft"
    default_auto_field = "django.db.models.BigAutoField"
