"""Celery tasks of a manager: the clock calls, `periodic` does.

They run beside each other, so that one which waits for a broker that hangs holds up no other; each
runs once at a time, and is left out while the one before is under way.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from celery import shared_task

from manager_app import periodic
from manager_app.process import worker_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from manager_app.runtime import ManagerRuntime

_under_way: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""By name of the task."""


def _alone(work: Callable[[ManagerRuntime], object]) -> None:
    """Run `work` with the runtime of this process, unless it is under way here already."""
    lock = _under_way[work.__name__]
    if lock.acquire(blocking=False):
        try:
            work(worker_runtime())
        finally:
            lock.release()


@shared_task(ignore_result=True)
def check_brokers() -> None:
    """Mark brokers as dead that are silent for too long."""
    _alone(periodic.check_brokers)


@shared_task(ignore_result=True)
def check_clients() -> None:
    """Record heartbeats of clients, mark silent ones as expired, forget revoked ones."""
    _alone(periodic.check_clients)


@shared_task(ignore_result=True)
def reconcile_placement() -> None:
    """Order missing replicas again and repair partitions."""
    _alone(periodic.reconcile_placement)


@shared_task(ignore_result=True)
def balance_leaders() -> None:
    """Move leaderships to brokers that lead fewer partitions, few at a time."""
    _alone(periodic.balance_leaders)
