"""Which brokers may be given replicas or leaderships, by what they last reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q

from manager_app.models import Broker, BrokerState

if TYPE_CHECKING:
    from django.db.models import QuerySet

ROOM_RESERVES = 2
"""Free space that a broker needs for a new replica, as a multiple of `QUEUE_DISK_RESERVE_BYTES`:
one reserve that it never fills, and one for what arrives before its next report."""


def brokers_that_stay() -> QuerySet[Broker]:
    """Return the brokers that are alive and are not being drained."""
    return Broker.objects.filter(state=BrokerState.ALIVE, draining=False)


def brokers_for_replicas() -> QuerySet[Broker]:
    """Return the brokers that may be given new replicas; those that they hold stay.

    They need twice the reserve. A broker with less than the reserve refuses writes of clients, but
    a follower that catches up stores on, down to the last byte, where the process ends.
    """
    return brokers_that_stay().filter(_has_free(ROOM_RESERVES))


def brokers_for_leaderships() -> QuerySet[Broker]:
    """Return the brokers that may be given leaderships.

    One with less free space than the reserve would decline, one with a slow disk would hand the
    leadership over again.
    """
    return brokers_that_stay().filter(_has_free(1), disk_slow=False)


def _has_free(reserves: int) -> Q:
    """Return the condition for so many reserves of free space; 0 bytes: not reported yet."""
    needed_bytes = reserves * settings.QUEUE.disk_reserve_bytes
    return Q(disk_free_bytes=0) | Q(disk_free_bytes__gte=needed_bytes)
