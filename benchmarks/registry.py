"""Which workloads there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.workloads.consume_fetch import ConsumeFetch
from benchmarks.workloads.consume_pop import ConsumePop
from benchmarks.workloads.end_to_end import EndToEnd
from benchmarks.workloads.failover import Failover
from benchmarks.workloads.http_produce import HttpProduce
from benchmarks.workloads.pop_manager import PopManager
from benchmarks.workloads.produce_batch import ProduceBatch
from benchmarks.workloads.start import Start
from benchmarks.workloads.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workload import Workload

STANDARD = (
    "sync_1",
    "sync_16",
    "http_16",
    "produce_batch",
    "consume_fetch",
    "consume_pop",
    "pop_manager",
    "end_to_end",
    "end_to_end_pop",
    "failover",
    "failover_stop",
    "start",
)
"""What is measured when nothing is named."""

_FIXED: dict[str, Callable[[], Workload]] = {
    "produce_batch": ProduceBatch,
    "consume_fetch": ConsumeFetch,
    "consume_pop": ConsumePop,
    "pop_manager": PopManager,
    "end_to_end": lambda: EndToEnd(pops=False),
    "end_to_end_pop": lambda: EndToEnd(pops=True),
    "failover": lambda: Failover(stops=False),
    "failover_stop": lambda: Failover(stops=True),
    "start": Start,
}
_SIZED: dict[str, Callable[[int], Workload]] = {
    "sync": Sync,
    "http": HttpProduce,
    "produce_batch": ProduceBatch,
}
"""Families whose names end in a number: threads, clients, messages of a batch."""


class UnknownWorkload(ValueError):
    """No workload has this name."""


def make_workload(name: str) -> Workload:
    """Return the workload of a name: one of `STANDARD`, or `sync_N`, `http_N`, `produce_batch_N`.

    Raises:
        UnknownWorkload: there is none.
    """
    if name in _FIXED:
        return _FIXED[name]()
    sized = re.fullmatch(r"([a-z_]+)_([1-9][0-9]{0,4})", name)
    if sized and sized[1] in _SIZED:
        return _SIZED[sized[1]](int(sized[2]))
    raise UnknownWorkload(
        f"there is no workload {name!r}; there are {', '.join(STANDARD)}, and sync_N, http_N and"
        " produce_batch_N with a number"
    )


def names_of(text: str) -> list[str]:
    """Return the names in a list separated by commas; all standard ones of an empty text.

    Raises:
        UnknownWorkload: one of them is none.
    """
    names = [name for part in text.split(",") if (name := part.strip())]
    for name in names:
        make_workload(name)
    return names or list(STANDARD)
