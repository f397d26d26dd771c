"""Measures what a manager's work takes, on the services themselves and a database of a shape."""

from __future__ import annotations

import gc
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from benchmarks.scale.cluster_size import ClusterSize
from benchmarks.scale.costs import Growth, Line, ManagerCosts
from benchmarks.scale.database import file_bytes, make_database, report_of
from manager_app import selectors
from manager_app.models import Broker, BrokerState, Producer
from manager_app.placement import repair_round
from manager_app.placement.partition_facts import partitions_to_heal
from manager_app.placement.rules import choose_transfers, place_partitions
from manager_app.selectors import ClientKey
from manager_app.services.client import heartbeats_record
from manager_app.services.replica import replicas_retarget
from manager_app.services.report import broker_report

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 3
"""Of each, of which the least counts: what others do on the machine only adds."""
SHARE_LOST = 10
"""One of so many brokers is lost where a repair is measured."""
TOPIC_PARTITIONS = 100


SMALL = ClusterSize(brokers=20, partitions=1_000, clients=500, members=0)
LARGE = ClusterSize(brokers=50, partitions=10_000, clients=4_000, members=0)


def measure_manager(
    small: ClusterSize = SMALL, large: ClusterSize = LARGE
) -> tuple[ManagerCosts, list[Growth]]:
    """Measure two sizes and return the lines through them, and how each cost grew.

    The database is the one that Django is set up with; it is emptied.
    """
    sizes = (sizes_of(small), sizes_of(large))
    figures = (measure_shape(small), measure_shape(large))
    lines = {
        name: Line.through((sizes[0][name], cost), (sizes[1][name], figures[1][name]))
        for name, cost in figures[0].items()
    }
    growths = [
        Growth(name, sizes[0][name], sizes[1][name], figures[0][name], figures[1][name])
        for name in figures[0]
    ]
    return ManagerCosts(database=connection.vendor, **lines), growths


def sizes_of(shape: ClusterSize) -> dict[str, float]:
    """Return what each cost depends on."""
    by_partitions = (
        *("metadata_load", "metadata_bytes", "repair_look", "repair_round"),
        *("balance", "place", "file_bytes"),
    )
    by_replicas = ("report_same", "report_changed", "report_bytes", "answer_bytes")
    return {
        **dict.fromkeys(by_partitions, float(shape.partitions)),
        **dict.fromkeys(by_replicas, shape.replicas_per_broker),
        **dict.fromkeys(("heartbeats_stored", "clients_looked_at"), float(shape.clients)),
        "sign": float(shape.brokers),
    }


def measure_shape(shape: ClusterSize) -> dict[str, float]:
    """Return the costs at one size, by the names of `ManagerCosts`."""
    make_database(shape)
    return {
        **_reports(shape),
        **_repairs(shape),
        **_clients(),
        "metadata_load": seconds(selectors.metadata_load),
        "metadata_bytes": _memory_of(selectors.metadata_load),
        "balance": seconds(_balance),
        "place": seconds(_place),
        "file_bytes": file_bytes(),
    }


def _reports(shape: ClusterSize) -> dict[str, float]:
    broker = Broker.objects.order_by("pk")[shape.brokers // 2]
    reports = [report_of(broker, offset) for offset in range(1_000, 1_000 + TRIES)]
    changed = [_seconds_of(partial(broker_report, report)) for report in reports]
    sign = msgspec.structs.replace(reports[-1], full=False, replicas=[])
    return {
        "report_changed": min(changed),
        "report_same": seconds(lambda: broker_report(reports[-1])),
        "report_bytes": float(len(msgspec.json.encode(reports[-1]))),
        "answer_bytes": float(len(msgspec.json.encode(broker_report(reports[-1]).orders))),
        "sign": seconds(lambda: broker_report(sign)),
    }


def _repairs(shape: ClusterSize) -> dict[str, float]:
    look = seconds(lambda: partitions_to_heal().count())
    lost = max(1, shape.brokers // SHARE_LOST)
    ids = list(Broker.objects.order_by("pk").values_list("pk", flat=True)[:lost])
    with transaction.atomic():
        Broker.objects.filter(pk__in=ids).update(state=BrokerState.DEAD)
        taken = seconds(lambda: _round(frozenset(ids)))
        transaction.set_rollback(True)
    return {"repair_look": look, "repair_round": look + taken}


def _round(dead: frozenset[int]) -> None:
    """Decide and store one round, without the calls to brokers."""
    with transaction.atomic():
        plan = repair_round._decide(partitions_to_heal(), dead, 1)
        assert plan.retargets, "there is something to repair"
        for group_id, version, change in plan.retargets:
            replicas_retarget(group_id, change, version=version)
        transaction.set_rollback(True)


def _balance() -> None:
    live = set(Broker.objects.values_list("pk", flat=True))
    choose_transfers(selectors.led_partitions(), live, at_most=TOPIC_PARTITIONS)


def _place() -> None:
    loads = selectors.broker_loads()
    place_partitions(TOPIC_PARTITIONS, min(3, len(loads)), loads)


def _clients() -> dict[str, float]:
    now = timezone.now()
    ids = Producer.objects.values_list("pk", flat=True)
    heard = {ClientKey("producer", client_id): now for client_id in ids}
    return {
        "heartbeats_stored": seconds(lambda: heartbeats_record(heard)),
        "clients_looked_at": seconds(lambda: selectors.clients_alive("producer")),
    }


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of this thread that some work takes, the least of some tries."""
    return min(_seconds_of(work) for _ in range(TRIES))


def _seconds_of(work: Callable[[], object]) -> float:
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s


def _memory_of(load: Callable[[], object]) -> float:
    """Return the bytes that stay allocated for what is loaded."""
    gc.collect()
    tracemalloc.start()
    loaded = load()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del loaded
    return float(taken)
