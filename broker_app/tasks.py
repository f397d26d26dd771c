"""What Celery beat drives in a broker beside Raft: each task posts one thing and returns."""

from __future__ import annotations

from celery import shared_task

from broker_app import runtime
from broker_app.services.retention import retention_start


@shared_task(ignore_result=True)
def broker_heartbeat() -> None:
    """Report to a manager and forget idle clients of full tables."""
    installed = runtime.installed()
    if installed is not None:
        installed.post_heartbeat()


@shared_task(ignore_result=True)
def broker_sign() -> None:
    """Show a manager that this broker is there."""
    installed = runtime.installed()
    if installed is not None:
        installed.post_sign()


@shared_task(ignore_result=True)
def retention() -> None:
    """Let the messages go that are older or more than the partitions led here keep."""
    installed = runtime.installed()
    if installed is not None:
        installed.engine.post(retention_start, installed)
