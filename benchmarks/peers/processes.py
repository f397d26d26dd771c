"""Server processes of others: started with files for their output, stopped by their ids."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.peers.session import Place
from benchmarks.peers.system import SystemFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

READY_S = 90.0
"""Longest wait for servers to be ready."""
POLL_S = 0.05
OUTPUT_LINES = 30
"""Of servers that did not start, the last ones."""


class Processes:
    """Servers that live as long as the `with` block.

    Args:
        directory: for their output and for the file that says where they are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state_path = directory / "servers.json"
        self._started: list[subprocess.Popen[bytes]] = []
        self._servers: list[Place] = []

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill everything that was started, and what that started: their data is thrown away."""
        for process in reversed(self._started):
            process.kill()
            process.wait()
            _kill_group(process.pid)

    def start(
        self,
        command: Sequence[str],
        *,
        address: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own.

        Args:
            command: program and arguments.
            address: of a server that keeps messages; empty for a helper.
            environment: all of it; this process's when None.
        """
        output_path = self._output_path(len(self._started))
        with output_path.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=environment,
                start_new_session=True,
            )
        self._started.append(process)
        if address:
            self._servers.append(Place(address, process.pid))
            self.state_path.write_text(json.dumps(self._servers))
        return process

    def wait_for(self, look: Callable[[], bool], *, what: str) -> None:
        """Wait until `look` is true.

        Raises:
            SystemFailed: it is not in time, or a process ended; with what the servers printed.
        """
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and all(one.poll() is None for one in self._started):
            if look():
                return
            time.sleep(POLL_S)
        raise SystemFailed(f"not ready: {what}\n{self.output()}")

    def output(self) -> str:
        """Return the last lines that each process printed."""
        lines: list[str] = []
        for number in range(len(self._started)):
            text = self._output_path(number).read_text(errors="replace")
            lines += text.splitlines()[-OUTPUT_LINES:]
        return "\n".join(lines)

    def printed(self, number: int) -> str:
        """Return what the process started as the `number`th, from 0, has printed."""
        return self._output_path(number).read_text(errors="replace")

    def _output_path(self, number: int) -> Path:
        return self.directory / f"server-{number}.out"


def read_servers(state_path: str | Path) -> list[Place]:
    """Return the servers that `Processes` wrote down."""
    return [Place(*one) for one in json.loads(Path(state_path).read_text())]


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def is_listening(port: int) -> bool:
    """Tell whether somebody accepts connections on a port of the loopback interface."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _kill_group(pid: int) -> None:
    """Kill what a process that we started and waited for has left behind in its group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
