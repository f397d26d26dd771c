"""Reports and signs of life of brokers: noted in memory, stored, and answered with orders.

These functions block and belong into the threads of the ordinary views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app import selectors
from manager_app.services.broker import broker_beat
from manager_app.services.report import broker_report

if TYPE_CHECKING:
    from http_base.cluster import BrokerOrders, BrokerReport
    from manager_app.runtime import ManagerRuntime


def take_report(runtime: ManagerRuntime, report: BrokerReport) -> BrokerOrders:
    """Take a broker's report; return its orders. It shows that the broker is there in any case.

    Raises:
        QueueError: as `broker_report` says.
    """
    if report.broker_id:
        runtime.broker_heartbeats.beat(report.broker_id, runtime.monotonic_s())
    taken = broker_report(report)
    runtime.broker_heartbeats.beat(taken.broker_id, runtime.monotonic_s(), marker=taken.recorded_at)
    if taken.metadata_changed:
        runtime.metadata.refresh()
    if taken.leaders:
        runtime.metadata.note_leaders(taken.leaders)
    return taken.orders


def beat_broker(runtime: ManagerRuntime, key: int | str) -> bool:
    """Record a broker's sign of life; return False when there is no such broker."""
    broker = selectors.broker_find(key)
    if broker is None:
        return False
    runtime.broker_heartbeats.beat(broker.broker_id, runtime.monotonic_s())
    if broker_beat(broker):
        runtime.metadata.refresh()
    return True
