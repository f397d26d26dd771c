"""System checks of the configuration: what cannot work stops the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from queuesite.conf import MANAGER, problems

if TYPE_CHECKING:
    from queuesite.conf import QueueConfig


CHECK_TAG = "queuesite"
"""Of the checks that servers run at their start: the others are of the code, not of its values."""


def register_checks() -> None:
    """Make `manage.py check` and every command that checks first run them."""
    register(check_queue, CHECK_TAG)


def check_queue(**_: object) -> list[CheckMessage]:
    """Check the setting QUEUE."""
    return queue_errors(settings.QUEUE)


def queue_errors(config: QueueConfig) -> list[CheckMessage]:
    """Return one error per problem of `config` and of its use in this role."""
    errors: list[CheckMessage] = [
        Error(problem, id="queuesite.E001") for problem in problems(config)
    ]
    if config.celery_broker_url and config.role == MANAGER and not config.database_url:
        errors.append(
            Error(
                "QUEUE_CELERY_BROKER_URL needs QUEUE_DATABASE_URL: separate workers cannot share an"
                " SQLite file in a manager's data directory.",
                id="queuesite.E002",
            )
        )
    return errors
