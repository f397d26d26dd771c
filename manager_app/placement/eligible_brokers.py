"""Which brokers may be given replicas or leaderships, by what they last reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q

from manager_app.models import Broker, BrokerState

if TYPE_CHECKING:
    from django.db.models import QuerySet

ROOM_RESERVES = 2
"""Free space that a new replica needs, as a multiple of `DISK_RESERVE_BYTES`."""


def brokers_that_stay() -> QuerySet[Broker]:
    """Return the brokers that are alive and are not to be emptied."""
    return Broker.objects.filter(state=BrokerState.ALIVE, draining=False)


def brokers_for_replicas() -> QuerySet[Broker]:
    """Return the brokers that may be given new replicas; those that they hold stay.

    They need twice the reserve. With less than the reserve a broker is full; but a replica that
    is filled stores on, down to the last byte, where the process ends. The second reserve is for
    what arrives before the next report.
    """
    return brokers_that_stay().filter(_has_free(ROOM_RESERVES))


def brokers_for_leaderships() -> QuerySet[Broker]:
    """Return the brokers that may be given leaderships.

    One with less than the reserve would decline; one with a slow disk would hand it over again.
    """
    return brokers_that_stay().filter(_has_free(1), disk_slow=False)


def _has_free(reserves: int) -> Q:
    """Return the condition for so many reserves of free space; 0 bytes mean that none was told."""
    needed_bytes = reserves * settings.QUEUE.disk_reserve_bytes
    return Q(disk_free_bytes=0) | Q(disk_free_bytes__gte=needed_bytes)
