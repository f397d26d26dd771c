"""One supervised process: started with its environment, watched, restarted after a pause."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from http_base.tasks import spawn
from myqueue.contract.backoff import Backoff
from queuesite.ready_pipe import READY_DESCRIPTOR_VARIABLE, name_pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

USAGE_STATUS = 2
"""Exit status of a child that its configuration keeps from starting."""
RESTART_DELAY_MAX_S = 10.0
"""Longest pause before a child that dies again and again is started."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What a child is and how it is started."""

    name: str
    """`manager` or `broker-1`."""
    arguments: tuple[str, ...]
    """Command line."""
    environ: Mapping[str, str]
    log_path: Path
    """Its output is appended here."""
    facts: Mapping[str, Any]
    """What the cluster's file says of it: addresses and directory."""


class Child:
    """A process that is kept running until it is told to stop."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        say: Callable[[str], None],
        changed: Callable[[], None],
        restart_delay_s: float | None,
    ) -> None:
        """Take what to run; nothing runs before `run`.

        Args:
            spec: what to run.
            say: prints one line.
            changed: called when `pid` or `ready` changed.
            restart_delay_s: pause before the first restart, doubled by each death before it was
                ready; None: never restarted.
        """
        self.spec = spec
        self.pid = 0
        """0 while it does not run."""
        self.ready = False
        self.facts: dict[str, str] = {}
        """What the child said when it was ready."""
        self.refused = asyncio.Event()
        """Set when the child's configuration keeps it from starting."""
        self._say = say
        self._changed = changed
        self._restarts = (
            None
            if restart_delay_s is None
            else Backoff(restart_delay_s, max(restart_delay_s, RESTART_DELAY_MAX_S))
        )
        self._stopping = asyncio.Event()
        self._stop_signal = int(signal.SIGTERM)
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Keep the process running until `stop`, or for good when it may not be restarted.

        What the operating system refuses, such as to open the log on a full disk, is a death, too.
        """
        deaths = 0
        while not self._stopping.is_set():
            self._was_ready = False
            status: int | None = None
            try:
                status = await self._run_once()
                how = describe_status(status)
            except OSError as error:
                how = str(error)
            if self._stopping.is_set():
                return
            if status == USAGE_STATUS and not self.facts:
                self._say(f"{self.spec.name} cannot start: {last_line(self.spec.log_path)}")
                self.refused.set()
                return
            if self._restarts is None:
                self._say(f"{self.spec.name} died ({how}) and stays down")
                return
            if self._was_ready:
                deaths = 0
            delay_s = self._restarts.pause_s(deaths)
            deaths += 1
            self._say(f"{self.spec.name} died ({how}); it starts again in {delay_s:g} s")
            await self._pause(delay_s)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _run_once(self) -> int:
        """Start the process, wait for its end, return its status.

        Raises:
            OSError: it could not be started, or `changed` failed; it does not run.
        """
        reading, writing = os.pipe()
        try:
            self._process = process = await self._spawn(writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        if self._stopping.is_set():  # `stop` had nobody yet to send its signal to
            process.send_signal(self._stop_signal)
        self.pid = process.pid
        waiting = spawn(
            f"waiting for {self.spec.name}", self._wait_ready(reading), expected=(OSError,)
        )
        try:
            self._changed()
            status = await process.wait()
            await waiting
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await asyncio.wait((waiting,))
            self.pid, self.ready, self._process = 0, False, None
        self._changed()
        return status

    async def _spawn(self, writing: int) -> asyncio.subprocess.Process:
        """Start the process; it writes to the descriptor when it is ready."""
        os.set_inheritable(writing, True)
        parent = os.getpid()
        with self.spec.log_path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.spec.arguments,
                env={**self.spec.environ, READY_DESCRIPTOR_VARIABLE: name_pipe(writing)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )

    async def _wait_ready(self, descriptor: int) -> None:
        """Read the line that the child writes when it is ready; it ends with the child."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
        )
        try:
            line = await reader.readline()
        finally:
            transport.close()
        if line:
            self.facts = json.loads(line)
            self.ready = self._was_ready = True
            self._changed()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the signal and start the process no more."""
        self._stopping.set()
        self._stop_signal = number
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


def describe_status(status: int) -> str:
    """Return an exit status in words: `signal SIGKILL` or `status 1`."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


def last_line(path: Path) -> str:
    """Return the last line of a file that is not empty."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").splitlines()
    written = [line.strip() for line in lines if line.strip()]
    return written[-1].removeprefix("CommandError: ") if written else "it said nothing"


def _die_with(parent: int) -> None:
    """Make the kernel send SIGTERM to this process when its parent ends. Runs in the child."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
