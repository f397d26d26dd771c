"""The Django application of the wiring: management commands and system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

from queuesite.conf import TEST
from queuesite.optional_packages import import_drf_alone


class QueuesiteConfig(AppConfig):
    """Registers the checks of the configuration, and keeps from servers what they do not use."""

    name = "queuesite"

    def ready(self) -> None:
        """Register the system checks; import DRF before anybody else does."""
        from queuesite import checks

        checks.register_checks()
        if settings.QUEUE.role != TEST:
            import_drf_alone()
