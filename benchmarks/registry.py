"""Which workloads there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.cluster import Shape
from benchmarks.peers.session import Reading
from benchmarks.workloads.console import Console
from benchmarks.workloads.consume import Consume
from benchmarks.workloads.consume_fetch import ConsumeFetch
from benchmarks.workloads.control_plane import ControlPlane
from benchmarks.workloads.end_to_end import EndToEnd
from benchmarks.workloads.failover import Failover
from benchmarks.workloads.http_produce import HttpProduce
from benchmarks.workloads.idle import Idle
from benchmarks.workloads.import_client import ImportClient
from benchmarks.workloads.pop_manager import PopManager
from benchmarks.workloads.produce_batch import ProduceBatch
from benchmarks.workloads.restart import Restart
from benchmarks.workloads.start import Start
from benchmarks.workloads.storage_entry import StorageEntry
from benchmarks.workloads.sync import Sync, Tasks
from benchmarks.workloads.tail import Tail
from benchmarks.workloads.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.peers.queuesite import Site
    from benchmarks.peers.session import Session
    from benchmarks.workload import Workload

STANDARD = (
    "sync_1",
    "sync_16",
    "tasks_16",
    "http_16",
    "produce_batch",
    "consume_fetch",
    "consume_pop",
    "consume_group",
    "worker",
    "pop_manager",
    "end_to_end",
    "end_to_end_group",
    "end_to_end_pop",
    "failover",
    "failover_stop",
    "tail",
    "storage_entry",
    "start",
    "restart_messages_1000000",
    "restart_partitions_1000",
    "idle_0",
    "idle_3",
    "idle_1000",
    "views_1000",
    "control_plane",
    "import",
)
"""What is measured when nothing is named."""

SHARED = (
    "sync_1",
    "sync_16",
    "tasks_16",
    "produce_batch",
    "consume_fetch",
    "worker",
    "end_to_end",
    "end_to_end_group",
    "failover",
    "idle_0",
    "idle_3",
)
"""What is measured side by side with peers when nothing is named."""

_OURS: dict[str, Callable[[], Workload[Site]]] = {
    "consume_pop": lambda: Consume(Reading.POP),
    "consume_group": lambda: Consume(Reading.GROUP),
    "pop_manager": PopManager,
    "end_to_end_pop": lambda: EndToEnd(Reading.POP),
    "failover_stop": lambda: Failover(stops=True),
    "storage_entry": StorageEntry,
    "control_plane": ControlPlane,
    "start": Start,
    "tail": Tail,
    "import": ImportClient,
}
_OURS_SIZED: dict[str, Callable[[int], Workload[Site]]] = {
    "http": HttpProduce,
    "restart_messages": lambda size: Restart(messages=size),
    "restart_partitions": lambda size: Restart(partitions=size),
    "views": Views,
    "console": Console,
    "control_plane": ControlPlane,
}
"""Families whose names end in a number: of clients, messages, partitions."""
_SHARED: dict[str, Callable[[], Workload[Session]]] = {
    "produce_batch": ProduceBatch,
    "consume_fetch": ConsumeFetch,
    "worker": lambda: Consume(Reading.WORKER),
    "end_to_end": lambda: EndToEnd(Reading.FETCH),
    "end_to_end_group": lambda: EndToEnd(Reading.GROUP),
    "failover": lambda: Failover(stops=False),
    "idle_0": lambda: Idle(0),
}
_SHARED_SIZED: dict[str, Callable[[int], Workload[Session]]] = {
    "sync": Sync,
    "tasks": Tasks,
    "produce_batch": ProduceBatch,
    "idle": Idle,
}
"""Families whose names end in a number: of callers, messages in a batch, partitions."""


class UnknownWorkload(ValueError):
    """No workload has this name."""


def make_workload(name: str) -> Workload[Site]:
    """Return the workload of a name: one of `STANDARD`, or of a family with a number.

    Raises:
        UnknownWorkload: there is none.
    """
    if name in _OURS:
        return _OURS[name]()
    family, size = _sized(name)
    if size and family in _OURS_SIZED:
        return _OURS_SIZED[family](size)
    return make_shared_workload(name)


def make_shared_workload(name: str) -> Workload[Session]:
    """Return a workload that other systems take part in.

    Raises:
        UnknownWorkload: there is none.
    """
    if name in _SHARED:
        return _SHARED[name]()
    family, size = _sized(name)
    if size and family in _SHARED_SIZED:
        return _SHARED_SIZED[family](size)
    sized = ", ".join(f"{one}_N" for one in sorted(_OURS_SIZED | _SHARED_SIZED))
    raise UnknownWorkload(
        f"there is no workload {name!r}; there are {', '.join(STANDARD)}, and with a number {sized}"
    )


def shape_of(name: str) -> Shape:
    """Return what the cluster has to be like for a workload."""
    if family_of(name) == "console":
        return Console.shape
    return Tail.shape if name == Tail.name else Shape()


def family_of(name: str) -> str:
    """Return the name without its number, where it has one."""
    return _sized(name)[0] or name


def is_shared(name: str) -> bool:
    """Tell whether other systems can take part in a workload that there is."""
    return name in _SHARED or _sized(name)[0] in _SHARED_SIZED


def names_of(text: str, standard: Sequence[str] = STANDARD) -> list[str]:
    """Return the names in a list separated by commas; all standard ones of an empty text.

    Raises:
        UnknownWorkload: one of them is none.
    """
    names = [name for part in text.split(",") if (name := part.strip())]
    for name in names:
        make_workload(name)
    return names or list(standard)


def _sized(name: str) -> tuple[str, int]:
    """Return family and number of a name; empty and 0 for one without a number."""
    found = re.fullmatch(r"([a-z_]+)_(0|[1-9][0-9]{0,6})", name)
    return (found[1], int(found[2])) if found else ("", 0)
