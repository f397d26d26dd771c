"""The Django application of the wiring: management commands and system checks."""

from __future__ import annotations

from django.apps import AppConfig


class QueuesiteConfig(AppConfig):
    """Registers the checks of the configuration."""

    name = "queuesite"

    def ready(self) -> None:
        """Register the system checks."""
        from queuesite import checks

        checks.register_checks()
