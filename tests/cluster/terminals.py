"""Processes that a person starts one by one, in terminals of the same folder."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.cluster.processes import ROOT, popen, wait_until
from tests.ports import free_base, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENDS_WITHIN_SECONDS = 60
BROKERS = 3


class Terminals:
    """Processes started with `manage.py` in one folder, by a shell with umask 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = free_base(BROKERS)
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def manager(self) -> str:
        return f"http://127.0.0.1:{self.base}"

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        """Return little more than the ports, which are not the usual ones in a test."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**inherited, "QUEUE_MANAGER_ADDRESS": self.manager, **variables}

    def pids(self) -> list[int]:
        """Return the processes that run."""
        return [process.pid for process in self._running if process.poll() is None]

    def log(self, number: int) -> str:
        return (self.folder / f"terminal-{number}.log").read_text()

    def start(self, *arguments: str, **variables: str) -> int:
        """Start a command of `manage.py` and return the number of its terminal."""
        return self._open([str(ROOT / "manage.py"), *arguments], self.folder, variables)

    def start_celery(self, *arguments: str, **variables: str) -> int:
        """Start a command of `celery`, which finds the application where the project lies."""
        return self._open(["-m", "celery", "-A", "queuesite", *arguments], ROOT, variables)

    def _open(self, command: Sequence[str], folder: Path, variables: dict[str, str]) -> int:
        number = len(self._running)
        with (self.folder / f"terminal-{number}.log").open("wb") as log:
            process = popen(
                [sys.executable, *command],
                at_end=signal.SIGTERM,
                cwd=folder,
                env=self.environment(variables),
                stdout=log,
                stderr=log,
                umask=0,
            )
        self._running.append(process)
        return number

    def wait_ready(self, number: int) -> None:
        """Wait for the line that says ready."""

        def says_it() -> bool:
            assert self._running[number].poll() is None, self.log(number)
            lines = self.log(number).splitlines()
            return any(" ready on " in line or line.startswith("ready: ") for line in lines)

        wait_until(says_it, what=f"terminal {number} is ready", seconds=ENDS_WITHIN_SECONDS)

    def kill(self, number: int) -> None:
        """End a process in the middle of whatever it does."""
        self._running[number].kill()
        self._running[number].wait()

    def end(self, number: int) -> int:
        """Ask a process to stop; return its exit status."""
        self._running[number].send_signal(signal.SIGTERM)
        return self._running[number].wait(ENDS_WITHIN_SECONDS)

    def refused(self, *arguments: str, **variables: str) -> str:
        """Run a command that must not start; return its one line."""
        try:
            done = subprocess.run(
                [sys.executable, str(ROOT / "manage.py"), *arguments],
                cwd=self.folder,
                env=self.environment(variables),
                capture_output=True,
                text=True,
                timeout=ENDS_WITHIN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as still:
            raise AssertionError(f"it runs, and said {still.stdout!r} {still.stderr!r}") from still
        assert done.returncode == 2, done.stderr
        assert not done.stdout
        (line,) = done.stderr.strip().splitlines()
        return line

    def stop(self) -> None:
        """Stop all that runs; nothing but a signal ends it."""
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        try:
            for process in self._running:
                process.wait(ENDS_WITHIN_SECONDS)
        finally:
            for process in self._running:
                process.kill()

    def open_to_others(self) -> list[str]:
        """Return what lies below the data folder, itself included, and others may use."""
        root = self.folder / "data"
        modes = {}
        for path in (root, *root.rglob("*")):
            with suppress(FileNotFoundError):  # a journal is there for one transaction
                modes[path] = path.lstat().st_mode
        assert sum(map(stat.S_ISREG, modes.values())) > 3 * BROKERS
        return [str(path) for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077]


def free_port() -> str:
    [port] = free_ports(1)
    return str(port)
