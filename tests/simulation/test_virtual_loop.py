"""The event loop of the simulation."""

from __future__ import annotations

import asyncio
from random import Random

from tests.simulation.virtual_loop import Process, VirtualLoop


def run(seed: int, scenario) -> list[object]:
    """Run a scenario of (loop, told) and return what it told."""
    loop, told = VirtualLoop(Random(seed)), []
    try:
        loop.run_until_complete(scenario(loop, told))
    finally:
        loop.end()
    return told


async def sleeper(told: list[object], name: object, seconds: float) -> None:
    await asyncio.sleep(seconds)
    told.append(name)


async def several(loop: VirtualLoop, told: list[object]) -> None:
    tasks = [loop.create_task(sleeper(told, n, 1.0)) for n in range(5)]
    await asyncio.wait(tasks)
    told.append(round(loop.time(), 3))


def test_time_jumps_and_the_seed_decides_what_comes_first():
    assert run(1, several) == run(1, several)
    assert run(1, several)[-1] == 1.0
    assert len({tuple(run(seed, several)) for seed in range(10)}) > 1


def test_nothing_of_a_killed_process_runs_again():
    async def scenario(loop: VirtualLoop, told: list[object]) -> None:
        process = Process(loop)
        process.create_task(sleeper(told, "its own", 1.0))
        process.soon(loop.call_later, 0.5, told.append, "before")
        process.soon(loop.call_later, 1.5, told.append, "after")
        await asyncio.sleep(0.9)
        process.kill()
        await asyncio.sleep(2.0)
        told.append("others")

    assert run(1, scenario) == ["before", "others"]


def test_paused_process_does_later_what_it_would_have_done():
    async def scenario(loop: VirtualLoop, told: list[object]) -> None:
        process = Process(loop)
        process.create_task(sleeper(told, "its own", 1.0))
        process.pause()
        await asyncio.sleep(3.0)
        told.append("others")
        process.resume()
        await asyncio.sleep(2.0)

    assert run(1, scenario) == ["others", "its own"]


def test_closing_what_is_under_way_has_no_effect():
    async def careful(told: list[object]) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            asyncio.get_running_loop().call_soon(told.append, "too late")

    async def scenario(loop: VirtualLoop, told: list[object]) -> None:
        process = Process(loop)
        process.create_task(careful(told))
        await asyncio.sleep(1)
        process.kill()

    assert run(1, scenario) == []
