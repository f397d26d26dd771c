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

if TYPE_CHECKING:
    from tests.cluster.fault_cluster import ServerUnderTest

MIB = 1 << 20
HOLD = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep infinity'
BALLAST = "ballast"
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
        for pipe in (self._holder.stdout, self._holder.stderr):
            assert pipe is not None
            pipe.close()
        self._holder.kill()
        self._holder.wait()

    def hold(self, server: ServerUnderTest) -> None:
        """Let a server, whose directory is the mount point, start inside."""
        pid = str(self._holder.pid)
        server.wrapper = ["nsenter", "-t", pid, "-U", "-m", "--preserve-credentials", "--"]

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
        self._say("0 0 0")

    def _say(self, text: str) -> None:
        new = self._control.with_suffix(".new")
        new.write_text(text)
        new.replace(self._control)


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
