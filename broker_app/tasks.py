"""What Celery beat drives in a broker beside Raft: each task posts one thing and returns."""

from __future__ import annotations

from celery import shared_task

from broker_app import runtime


@shared_task(ignore_result=True)
def broker_heartbeat() -> None:
    """Report to a manager and forget idle clients of full tables."""
    installed = runtime.installed()
    if installed is not None:
        installed.post_heartbeat()
