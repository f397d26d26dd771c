"""A cluster of real processes for one measurement."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
READY_S = 60.0
STOP_S = 15.0
POLL_S = 0.05
_OWN_SETTINGS = ("DJANGO_", "QUEUESITE_", "QUEUE_")
"""Environment variables that would lead the cluster elsewhere."""


class Shape(NamedTuple):
    """What a cluster is like."""

    brokers: int = 3
    settings: tuple[tuple[str, str], ...] = ()
    """Environment variables of its processes, by name."""


class ClusterFailed(RuntimeError):
    """The cluster did not start; the message is its own output."""


class Cluster:
    """`manage.py cluster` with brokers on free ports and its data in a directory.

    Args:
        directory: an empty directory.
        shape: what it is like.
        poll_s: how often it is looked whether it is ready.
        look: called each time before.
    """

    def __init__(
        self,
        directory: Path,
        *,
        shape: Shape = Shape(),  # noqa: B008 - it cannot be changed
        poll_s: float = POLL_S,
        look: Callable[[], None] | None = None,
    ) -> None:
        self.data_dir = directory / "data"
        self.output = directory / "cluster.out"
        self._shape = shape
        self._poll_s = poll_s
        self._look = look or (lambda: None)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def state_path(self) -> Path:
        """The file in which the cluster says where its processes are."""
        return self.data_dir / "cluster.json"

    @property
    def manager(self) -> str:
        """Address of the manager."""
        return str(self._state()["manager"]["address"])

    def places(self) -> list[dict[str, Any]]:
        """Return what the cluster says of its manager and brokers; nothing before its start."""
        if not self.state_path.exists():
            return []
        state = self._state()
        return [state["manager"], *state["brokers"]]

    def __enter__(self) -> Self:
        """Start it and wait until it says that it is ready.

        Raises:
            ClusterFailed: it ended, or is not ready in time.
        """
        command = [sys.executable, "manage.py", "cluster", "--brokers", str(self._shape.brokers)]
        command += ["--data-dir", str(self.data_dir), "--port", "0"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_OWN_SETTINGS)
        } | dict(self._shape.settings)
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """Ask the supervisor to stop everything; kill by pid what has not ended in time."""
        if self._process is None:
            return
        pids = self._pids()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        for pid in filter(_is_ours, pids):
            os.kill(pid, signal.SIGKILL)

    def _wait_until_ready(self) -> None:
        assert self._process is not None, "started"
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            self._look()
            text = self.output.read_text(errors="replace")
            if any(line.startswith("ready") for line in text.splitlines()):
                return
            if self._process.poll() is not None:
                break
            time.sleep(self._poll_s)
        raise ClusterFailed(self.output.read_text(errors="replace"))

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.state_path.read_text())
        return state

    def _pids(self) -> list[int]:
        return [int(place["pid"]) for place in self.places()]


def _is_ours(pid: int) -> bool:
    """Tell whether a pid still is a process of `manage.py`, and not another's by now."""
    try:
        return b"manage.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
