"""Celery tasks of a manager: the clock calls, `periodic` does.

They run beside each other, so that one which waits for a broker that hangs holds up no other; each
runs once at a time, and is left out while the one before is under way.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from celery import shared_task
from django.db import Error, close_old_connections

from http_base.tasks import Turns
from manager_app import periodic, runtime
from manager_app.process import worker_runtime
from myqueue.contract.errors import ReadOnlyManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from manager_app.runtime import ManagerRuntime

_under_way: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""By name of the task."""


_keeping = Turns("keeping the lease", expected=(Error,))
logger = logging.getLogger(__name__)


def _alone(work: Callable[[ManagerRuntime], object]) -> None:
    """Run `work` with the runtime of this process, unless it is under way here already."""
    lock = _under_way[work.__name__]
    if lock.acquire(blocking=False):
        try:
            work(worker_runtime())
        except ReadOnlyManager as error:
            logger.info("%s is left to the primary: %s", work.__name__, error.message)
        finally:
            lock.release()


@shared_task(ignore_result=True)
def keep_lease() -> None:
    """Renew the lease of this process's manager, or look at the primary's.

    Its beat has a thread, and thereby a database connection, for nothing else: neither a task that
    waits for a broker nor a request that waits for the database holds it up.
    """
    present = runtime.installed()
    if present is None or present.read_only:
        return
    with _keeping.turn():
        close_old_connections()
        try:
            present.lease.keep()
        finally:
            close_old_connections()


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


@shared_task(ignore_result=True)
def forget_events() -> None:
    """Forget the events that are older, or more, than are kept."""
    _alone(periodic.forget_events)
