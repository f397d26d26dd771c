"""Rows that nobody reads are verified all the same."""

from __future__ import annotations

import pytest

from tests.raft_app.engine.snapshot_harness import fill

pytestmark = pytest.mark.asyncio


async def test_scrub_finds_a_damaged_row_that_nobody_reads(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 60)
    engine = cluster.engines[2]
    await cluster.until(lambda: len(cluster.values(2)) == 60)
    engine.request_scrub()
    engine.request_scrub()
    await cluster.until(lambda: engine.scrubber.passes == 1)
    assert engine.scrubber.rows >= 60
    assert not engine.replicas[1].faulty
    cluster.storages[2].damage_entry(1, 20)
    engine.request_scrub()
    await cluster.until(lambda: bool(engine.replicas[1].faulty))
    assert "checksum" in engine.replicas[1].faulty
    assert await cluster.append("a") == 60
