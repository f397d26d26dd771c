"""A broker that is to go, to stay after all, or to lead nothing for a while, as people want it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from http_base.tasks import gather_bounded
from manager_app import selectors
from manager_app.placement import eligible_brokers
from manager_app.placement.rules import LedPartition, Transfer
from manager_app.services.broker import broker_delete, broker_keep
from manager_app.services.cluster import acting_epoch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from manager_app.models import Broker
    from manager_app.runtime import ManagerRuntime

TRANSFERS_AT_ONCE = 16
TRANSFERS_MAX = 200
"""Leaderships that one call hands over: it waits for all of them."""
HAND_OVER_LIMIT_S = 90.0
"""For all of them; each has a limit of its own."""


def drain(manager: ManagerRuntime, broker_id: int) -> int:
    """Begin to empty a broker, which is removed once it holds no replica; blocks.

    Returns:
        How many replicas it holds; 0: it is removed.

    Raises:
        QueueError: what `require_database` and `broker_delete` raise.
    """
    manager.require_database()
    replicas = broker_delete(broker_id)
    if not replicas:
        manager.broker_heartbeats.forget(broker_id)
    manager.metadata.refresh()
    return replicas


def keep(manager: ManagerRuntime, broker_id: int) -> Broker:
    """End the draining of a broker and return it; blocks.

    Raises:
        QueueError: what `require_database` and `broker_keep` raise.
    """
    manager.require_database()
    broker = broker_keep(broker_id)
    manager.metadata.refresh()
    return broker


def hand_over(manager: ManagerRuntime, broker_id: int) -> tuple[int, int]:
    """Ask the leaders on a broker to hand over to others; blocks.

    Leaderships are spread anew within minutes: this broker gets some again unless it is drained
    or stopped.

    Returns:
        How many agreed, and how many were asked: `TRANSFERS_MAX` at most.

    Raises:
        QueueError: what `require_database` raises.
        BrokerNotFound: there is none with this id.
    """
    manager.require_database()
    selectors.broker_get(broker_id)
    may_lead = eligible_brokers.brokers_for_leaderships().values_list("broker_id", flat=True)
    others = set(may_lead) - {broker_id} - manager.silent_brokers()
    transfers = transfers_from(broker_id, selectors.led_partitions(), others)[:TRANSFERS_MAX]
    epoch = acting_epoch()
    asked = (manager.orders.hand_over(one, epoch=epoch) for one in transfers)
    agreed = manager.run(gather_bounded(asked, TRANSFERS_AT_ONCE), timeout_s=HAND_OVER_LIMIT_S)
    return sum(agreed), len(transfers)


def transfers_from(
    broker_id: int, partitions: Iterable[LedPartition], others: Collection[int]
) -> list[Transfer]:
    """Return where each leadership of a broker should go: to whoever leads least.

    Args:
        broker_id: of the broker.
        partitions: all that have a leader.
        others: ids of the brokers that may lead.
    """
    partitions = list(partitions)
    led = Counter(one.leader for one in partitions)
    transfers = []
    for one in partitions:
        targets = [replica for replica in one.replicas if replica in others]
        if one.leader == broker_id and targets:
            target = min(targets, key=lambda replica: (led[replica], replica))
            led[target] += 1
            transfers.append(Transfer(one.group_id, broker_id, target))
    return transfers
