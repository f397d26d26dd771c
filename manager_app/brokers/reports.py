"""Reports and signs of life of brokers: noted in memory, stored, and answered with orders.

These functions block and belong into the threads of the ordinary views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from http_base import guard
from manager_app import selectors
from manager_app.services.broker import broker_beat
from manager_app.services.report import broker_report

if TYPE_CHECKING:
    from http_base.cluster import BrokerOrders, BrokerReport
    from manager_app.runtime import ManagerRuntime


def take_report(runtime: ManagerRuntime, report: BrokerReport) -> BrokerOrders:
    """Store a broker's report and return its orders; a refused one is a sign of life as well.

    Raises:
        QueueError: as `broker_report` says.
    """
    if report.broker_id:
        runtime.broker_heartbeats.beat(report.broker_id, runtime.monotonic_s())
    runtime.require_database()
    taken = broker_report(report)
    runtime.broker_heartbeats.beat(taken.broker_id, runtime.monotonic_s(), marker=taken.recorded_at)
    if taken.metadata_changed:
        runtime.metadata.refresh()
    if taken.leaders:
        runtime.metadata.note_leaders(taken.leaders)
    table = runtime.metadata.current.access.table
    if not guard.is_on() or table.version == report.access_version:
        return taken.orders
    return replace(taken.orders, access=table)


def beat_broker(runtime: ManagerRuntime, key: int | str) -> bool:
    """Record a heartbeat of the broker with this id or address; return False if there is none."""
    broker = selectors.broker_find(key)
    if broker is None:
        return False
    runtime.broker_heartbeats.beat(broker.broker_id, runtime.monotonic_s())
    if broker_beat(broker):
        runtime.metadata.refresh()
    return True
