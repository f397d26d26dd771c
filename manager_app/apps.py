"""Django's entry for the manager."""

from __future__ import annotations

from django.apps import AppConfig


class ManagerAppConfig(AppConfig):
    """The control plane: topics, partitions, replicas, brokers and clients."""

    name = "manager_app"
    verbose_name = "Queue manager"
    default_auto_field = "django.db.models.BigAutoField"
