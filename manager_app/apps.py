"""Django's entry for the manager."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.backends.signals import connection_created


class ManagerAppConfig(AppConfig):
    """The control plane: topics, partitions, replicas, brokers and clients."""

    name = "manager_app"
    default = True
    verbose_name = "Queue manager"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let every connection refuse what is written without the primary's lease; watch people."""
        from manager_app.access_signals import connect
        from manager_app.fence import guard

        connection_created.connect(guard, dispatch_uid="manager_app.fence")
        if apps.is_installed("django.contrib.auth"):
            connect(apps)
            apps.get_app_config("auth").verbose_name = "Access"


class PeopleConfig(SimpleAdminConfig):
    """Django's admin in our theme, whose pages `manager_app.console.site` finds."""

    default_site = "unfold.sites.UnfoldAdminSite"
