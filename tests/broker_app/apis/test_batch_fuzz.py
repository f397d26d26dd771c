"""Batches of every kind, thrown at the door and stored past it: readers never stop.

`FUZZ_BATCHES` says how many, `FUZZ_SEED` repeats a run.
"""

from __future__ import annotations

import logging
import os
from itertools import cycle, islice
from random import Random
from typing import TYPE_CHECKING

import pytest
from django.core.handlers.asgi import ASGIHandler

from broker_app.urls import HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.inputs import BATCH
from myqueue.contract.records import Record, encode_batch, read_header
from tests.batches import MIB, fuzzed
from tests.broker_app.apis.every_reader import EVERY_WAY, TOPIC, Stored
from tests.peak_memory import PeakMemory

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin

BATCHES = int(os.environ.get("FUZZ_BATCHES", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or Random().randrange(1 << 32)
ROUND = 50
"""Batches of one partition."""
WAYS_AT_ONCE = 3
"""Ways of reading in one round; they take turns."""
ROUND_GROWTH_MAX = 50 * MIB
GROWTH_MAX = 50 * MIB


async def offer(stored: Stored, batch: bytes) -> bool:
    """Send a batch to the door; store it all the same when it is refused and has a right header.

    Returns:
        True when it was taken.
    """
    query = {"topic": TOPIC, "partition": 0, "producer_id": 1}
    answer = await stored.api.send(
        "POST", "/producer/produce", query=query, raw=batch, content_type=BATCH
    )
    if answer.status == 200:
        assert answer.json["base_offset"] == stored.end
        stored.in_memory.append(batch)
        stored.expect(batch)
        return True
    assert (answer.status, answer.json["code"]) == (400, "CORRUPT_BATCH"), answer
    with pytest.raises(CorruptBatch):
        stored.in_memory.append(batch)
    try:
        read_header(batch)
    except CorruptBatch:
        return False
    await stored.plant(batch)
    return False


@pytest.mark.timeout(120 + BATCHES // 20)
async def test_no_batch_stops_a_reader_and_what_is_taken_is_read_by_all(
    runtime: BrokerRuntime,
    engine: EngineTwin,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("broker_app.log_reading", "myqueue"):
        caplog.set_level(logging.CRITICAL, name)
    app = HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies)
    random, taken, offered = Random(SEED), 0, 0
    ways = cycle(EVERY_WAY.items())
    memory: PeakMemory | None = None
    for number in range(max(1, BATCHES // ROUND)):
        stored = Stored(engine, app, 100 + number)
        one = PeakMemory()
        for _ in range(ROUND):
            taken += await offer(stored, fuzzed(random))
        offered += ROUND
        await stored.plant(encode_batch([Record("the last")]))
        await stored.check(dict(islice(ways, WAYS_AT_ONCE)))
        assert one.grown() < ROUND_GROWTH_MAX, (SEED, number)
        stored.close()
        if number == 20:
            memory = PeakMemory()
    grown = 0 if memory is None else memory.grown()
    with capsys.disabled():
        print(  # noqa: T201
            f"\n    {offered} batches, {taken} taken; memory grew by {grown / MIB:.1f} MiB;"
            f" seed {SEED}"
        )
    assert grown < GROWTH_MAX, SEED
    assert offered // 10 < taken < offered * 9 // 10, SEED
