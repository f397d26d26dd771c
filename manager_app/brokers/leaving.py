"""A broker that is to go, or to stay after all, as people ask for it by the API or the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app.services.broker import broker_delete, broker_keep

if TYPE_CHECKING:
    from manager_app.models import Broker
    from manager_app.runtime import ManagerRuntime


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
