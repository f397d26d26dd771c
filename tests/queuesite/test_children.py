from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys

import pytest

from queuesite.children import Child, ChildSpec, describe_status, last_line

READY = """
import json, os, signal, sys
pipe = os.fdopen(int(os.environ["QUEUESITE_READY_FD"].partition(":")[0]), "w")
pipe.write(json.dumps({"ready": "yes"}) + "\\n")
pipe.close()
print("running", flush=True)
signal.pause()
"""
REFUSING = "import sys; print('CommandError: QUEUE_PORT is wrong', file=sys.stderr); sys.exit(2)"
FAILING = "import sys; sys.exit(1)"


class Watched:
    """A child, the lines it said, and an event per change."""

    def __init__(self, path, program, *, restart_delay_s=0.0, fails_at=None):
        self.lines: list[str] = []
        self.changes: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        self.fails_at = fails_at
        """Number of the change, from 1, for which there is no room."""
        self.count = 0
        spec = ChildSpec(
            name="broker-1",
            arguments=(sys.executable, "-c", program),
            environ=dict(os.environ),
            log_path=path / "broker-1.log",
            facts={},
        )
        self.child = Child(
            spec,
            say=self.lines.append,
            changed=self.changed,
            restart_delay_s=restart_delay_s,
        )

    def changed(self):
        self.count += 1
        if self.count == self.fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.changes.put_nowait((self.child.pid, self.child.ready))

    async def until_ready(self) -> int:
        async with asyncio.timeout(20):
            while True:
                pid, ready = await self.changes.get()
                if ready:
                    return pid


async def test_child_is_ready_when_it_says_so_and_stops_at_the_signal(tmp_path):
    watched = Watched(tmp_path, READY)
    running = asyncio.ensure_future(watched.child.run())
    pid = await watched.until_ready()
    assert watched.child.pid == pid > 0
    assert watched.child.facts == {"ready": "yes"}
    watched.child.stop()
    await asyncio.wait_for(running, 20)
    assert watched.child.pid == 0
    assert watched.lines == []


async def test_child_that_is_being_started_stops_at_the_signal(tmp_path):
    watched = Watched(tmp_path, READY)
    running = asyncio.ensure_future(watched.child.run())
    await asyncio.sleep(0)
    assert watched.child.pid == 0
    watched.child.stop()
    await asyncio.wait_for(running, 20)
    assert watched.lines == []


async def test_killed_child_is_started_again_and_said_so(tmp_path):
    watched = Watched(tmp_path, READY)
    running = asyncio.ensure_future(watched.child.run())
    first = await watched.until_ready()
    os.kill(first, signal.SIGKILL)
    second = await watched.until_ready()
    assert second != first
    assert watched.lines == ["broker-1 died (signal SIGKILL); it starts again in 0 s"]
    watched.child.stop(signal.SIGKILL)
    await asyncio.wait_for(running, 20)


async def test_child_that_may_not_be_restarted_stays_down(tmp_path):
    watched = Watched(tmp_path, READY, restart_delay_s=None)
    running = asyncio.ensure_future(watched.child.run())
    os.kill(await watched.until_ready(), signal.SIGKILL)
    await asyncio.wait_for(running, 20)
    assert watched.lines == ["broker-1 died (signal SIGKILL) and stays down"]


async def test_child_with_wrong_values_is_not_started_again(tmp_path):
    watched = Watched(tmp_path, REFUSING)
    await asyncio.wait_for(watched.child.run(), 20)
    assert watched.child.refused.is_set()
    assert watched.lines == ["broker-1 cannot start: QUEUE_PORT is wrong"]


async def test_pause_doubles_while_the_child_never_gets_ready(tmp_path):
    watched = Watched(tmp_path, FAILING, restart_delay_s=0.01)
    running = asyncio.ensure_future(watched.child.run())
    async with asyncio.timeout(20):
        while len(watched.lines) < 3:
            await watched.changes.get()
    watched.child.stop()
    await asyncio.wait_for(running, 20)
    assert [line.rpartition(" in ")[2] for line in watched.lines[:3]] == [
        "0.01 s",
        "0.02 s",
        "0.04 s",
    ]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
async def test_child_is_started_again_after_a_change_that_could_not_be_told(tmp_path, fails_at):
    """It is started, is ready, and is dead: each of them once on a full disk."""
    watched = Watched(tmp_path, READY, fails_at=fails_at)
    running = asyncio.ensure_future(watched.child.run())
    killed = 0
    async with asyncio.timeout(20):
        while not (watched.child.ready and watched.child.pid != killed and watched.count > 3):
            if watched.child.ready and not killed:
                killed = watched.child.pid
                os.kill(killed, signal.SIGKILL)
            await asyncio.sleep(0.01)
    assert any("No space left on device" in line for line in watched.lines)
    watched.child.stop(signal.SIGKILL)
    await asyncio.wait_for(running, 20)


async def test_child_that_could_not_be_started_is_started_when_it_can_be(tmp_path):
    place = tmp_path / "logs"
    watched = Watched(place, READY, restart_delay_s=0.01)
    descriptors = len(os.listdir("/proc/self/fd"))
    running = asyncio.ensure_future(watched.child.run())
    async with asyncio.timeout(20):
        while len(watched.lines) < 2:
            await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
    place.mkdir()
    await watched.until_ready()
    assert watched.lines[0].startswith("broker-1 died ([Errno 2] No such file or directory")
    assert [line.rpartition(" in ")[2] for line in watched.lines[:2]] == ["0.01 s", "0.02 s"]
    watched.child.stop(signal.SIGKILL)
    await asyncio.wait_for(running, 20)


@pytest.mark.parametrize(
    ("status", "words"), [(0, "status 0"), (1, "status 1"), (-9, "signal SIGKILL")]
)
def test_status_is_put_in_words(status, words):
    assert describe_status(status) == words


def test_last_line_of_a_log_is_found(tmp_path):
    path = tmp_path / "log"
    path.write_text("x" * 10_000 + "\nCommandError: the last\n\n")
    assert last_line(path) == "the last"
    path.write_text("")
    assert last_line(path) == "it said nothing"
