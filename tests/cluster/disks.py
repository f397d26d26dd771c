"""Disks of a broker under test: one that can be filled, one whose syncs are slow or fail.

A small disk is a file system in memory in a mount namespace of its own, which a process that does
nothing keeps; the broker is started inside it. A bad disk is a library put before the broker's own
`fsync` and `fdatasync`, which reads from a file what to do to the next call.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.cluster.fault_cluster import FaultCluster

if TYPE_CHECKING:
    from tests.cluster.fault_cluster import ServerUnderTest

MIB = 1 << 20
HOLD = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat'
"""It ends with the test, which holds the other end of what `cat` reads."""
BALLAST = "ballast"
HEALTHY = "0 0 0"
"""What happens to a sync on a good disk."""
SYNC_SHIM = Path(__file__).with_name("sync_shim.c")


def require(program: str) -> str:
    """Return the path of a program; without it the test is skipped, and fails in CI."""
    path = shutil.which(program)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {program}")
    return path


class SmallDisk:
    """The disk of one broker, of a few MiB; what is on it outlives the broker, not the test."""

    def __init__(self, mount_point: Path, size_bytes: int) -> None:
        """Mount it on a directory, which is made; nobody outside sees it there."""
        mount_point.mkdir(parents=True, exist_ok=True)
        self._holder = subprocess.Popen(
            [require("unshare"), "-rm", "sh", "-c", HOLD, "sh", str(size_bytes), str(mount_point)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self._holder.kill()
            _, why = self._holder.communicate()
            pytest.skip(f"no file system can be mounted here: {why.decode()}")
        self.directory = Path(f"/proc/{self._holder.pid}/root{mount_point}")
        """Where the test sees it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            assert pipe is not None
            pipe.close()
        self._holder.kill()
        self._holder.wait()

    def hold(self, server: ServerUnderTest) -> None:
        """Let a server, whose directory is the mount point, start inside."""
        pid = str(self._holder.pid)
        server.wrapper = [
            *("nsenter", "-t", pid, "-U", "-m", "--preserve-credentials", "--"),
            *(require("setpriv"), "--pdeathsig", "KILL", "--"),  # entering forgets it
        ]

    @property
    def free_bytes(self) -> int:
        """Free space."""
        return shutil.disk_usage(self.directory).free

    def fill(self, leave_bytes: int) -> None:
        """Fill it but for some bytes."""
        ballast = os.open(self.directory / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while (missing := self.free_bytes - leave_bytes) > 0:
                os.write(ballast, bytes(min(missing, MIB)))
        except OSError:
            assert leave_bytes == 0
        finally:
            os.close(ballast)

    def make_room(self) -> None:
        """Take away what filled it."""
        (self.directory / BALLAST).unlink()


class BadDisk:
    """Makes the syncs of a server slow, or fail; a file says what happens to the next one."""

    def __init__(self, directory: Path) -> None:
        """Compile the library into a directory, which is made."""
        directory.mkdir(exist_ok=True)
        self._control = directory / "sync-control"
        self._library = directory / "sync_shim.so"
        subprocess.run(
            [require("cc"), "-shared", "-fPIC", "-O1", "-o", self._library, SYNC_SHIM, "-ldl"],
            check=True,
        )
        self.heal()

    def put_under(self, server: ServerUnderTest) -> None:
        """Let the next process of a server have this disk."""
        server.environment["LD_PRELOAD"] = str(self._library)
        server.environment["SYNC_CONTROL"] = str(self._control)
        server.environment["SYNC_COUNT"] = str(self._count)

    @property
    def _count(self) -> Path:
        return self._control.with_name("sync-count")

    @property
    def syncs(self) -> int:
        """Syncs so far that were slowed down or failed."""
        return self._count.stat().st_size if self._count.exists() else 0

    def slow(self, low_ms: int, high_ms: int) -> None:
        """Make each sync take that long, evenly drawn."""
        self._say(f"{low_ms} {high_ms} 0")

    def fail(self, number: int) -> None:
        """Make each sync fail with an error number."""
        self._say(f"0 0 {number}")

    def heal(self) -> None:
        """Let syncs be what they are."""
        self._say(HEALTHY)

    @property
    def is_healthy(self) -> bool:
        """True while syncs are what they are."""
        return self._control.read_text() == HEALTHY

    def _say(self, text: str) -> None:
        new = self._control.with_suffix(".new")
        new.write_text(text)
        new.replace(self._control)


class DisksCluster:
    """A cluster each of whose brokers has a disk of its own that can go bad."""

    def __init__(self, directory: Path) -> None:
        """Make it; entering starts it."""
        self.cluster = FaultCluster(directory, broker_heartbeat_s="2")
        self._directory = directory
        self.disks: dict[int, BadDisk] = {}

    def __enter__(self) -> Self:
        disks = {}
        for broker in self.cluster.brokers.values():
            disks[broker.port] = BadDisk(self._directory / f"disk-of-{broker.port}")
            disks[broker.port].put_under(broker)
        self.cluster.__enter__()
        self.disks = {one: disks[broker.port] for one, broker in self.cluster.brokers.items()}
        return self

    def close(self) -> None:
        """End it."""
        self.cluster.close()

    def clear(self) -> None:
        """Delete every topic and what was kept aside; everything must run and be whole.

        Raises:
            AssertionError: it does not, or is not.
        """
        assert all(disk.is_healthy for disk in self.disks.values()), "a disk was left bad"
        self.cluster.clear()
        for broker in self.cluster.brokers.values():
            for kept_aside in broker.directory.glob("damaged-*"):
                shutil.rmtree(kept_aside)

    def victim(self, role: str, topic: str) -> int:
        """Return the broker that leads a topic, or one that follows."""
        leader = self.cluster.leader_id(topic)
        return leader if role == "leader" else min(set(self.cluster.brokers) - {leader})


def exit_status(server: ServerUnderTest, seconds: float = 30) -> int:
    """Wait until a server has ended by itself and return its status."""
    return server.reap(seconds)


def start_until_it_stays(server: ServerUnderTest, seconds: float = 60) -> list[int]:
    """Start a server again and again, as a supervisor does; return the statuses of its deaths."""
    deadline, statuses = time.monotonic() + seconds, []
    while True:
        server.launch()
        try:
            server.wait_healthy()
        except AssertionError:
            statuses.append(server.reap())
            assert time.monotonic() < deadline, f"it does not stay: {statuses}"
        else:
            return statuses
