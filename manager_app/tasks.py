"""Celery tasks of a manager: the clock calls, `upkeep` does."""

from __future__ import annotations

from celery import shared_task

from manager_app import upkeep
from manager_app.process import worker_runtime


@shared_task(ignore_result=True)
def check_brokers() -> None:
    """Find brokers that are silent for too long."""
    upkeep.check_brokers(worker_runtime())


@shared_task(ignore_result=True)
def check_clients() -> None:
    """Record heartbeats of clients and let silent ones expire."""
    upkeep.check_clients(worker_runtime())


@shared_task(ignore_result=True)
def reconcile_placement() -> None:
    """Order replicas again that are missing."""
    upkeep.reconcile_placement(worker_runtime())


@shared_task(ignore_result=True)
def balance_leaders() -> None:
    """Move at most one leadership to where there are fewer."""
    upkeep.balance_leaders(worker_runtime())
