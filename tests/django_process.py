"""Django in a process that a test starts for itself."""

from __future__ import annotations

import os

import django


def set_up() -> None:
    """Let Django have the models of managers and brokers, whatever the one that started this is."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "queuesite.settings")
    os.environ["QUEUE_ROLE"] = "test"
    django.setup()
