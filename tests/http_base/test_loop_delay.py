from __future__ import annotations

import asyncio
import time

from http_base import loop_delay
from http_base.histogram import Histogram
from http_base.loop_delay import LoopDelay


async def test_a_loop_that_stands_still_is_seen(monkeypatch):
    monkeypatch.setattr(loop_delay, "EVERY_S", 0.01)
    delays = Histogram()
    meter = LoopDelay(delays)
    meter.start()
    time.sleep(0.15)
    async with asyncio.timeout(20):
        while delays.cumulated()[-1] < 2:
            await asyncio.sleep(0.01)
    assert delays.sum >= 0.13
    meter.stop()
    counted = delays.cumulated()[-1]
    await asyncio.sleep(0.03)
    assert delays.cumulated()[-1] == counted
