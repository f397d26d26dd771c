"""How long processes waited for a processor that others had: not their delay, but the machine's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NS_PER_S = 1_000_000_000
GONE = (FileNotFoundError, ProcessLookupError)
"""What is raised about a process that ended."""


class Waited:
    """The time that threads of this and of other processes were ready and did not run, from now on.

    Whatever goes on in these processes is at most that much late because the machine has too few
    processors: a limit in seconds holds for the rest.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        """Begin to count.

        Args:
            pids: of the other processes.
        """
        self._pids = [os.getpid(), *pids]
        self._before = self._now_ns()
        self._last = dict(self._before)

    def follow(self, pid: int) -> None:
        """Count for another process, too, from its start on, which was after this counting's."""
        self._pids.append(pid)

    def look(self) -> None:
        """Count up to now; what a thread waits between the last look and its end is not seen."""
        self._last |= self._now_ns()

    @property
    def seconds(self) -> float:
        """The sum over all threads, up to now; 0 where the kernel does not count it."""
        self.look()
        waited_ns = sum(ns - self._before.get(thread, 0) for thread, ns in self._last.items())
        return waited_ns / NS_PER_S

    def _now_ns(self) -> dict[Path, int]:
        found = {}
        for pid in self._pids:
            tasks = Path(f"/proc/{pid}/task")
            with suppress(*GONE):
                for thread in os.listdir(tasks):
                    with suppress(*GONE):
                        _, waited_ns, _ = (tasks / thread / "schedstat").read_text().split()
                        found[tasks / thread] = int(waited_ns)
        return found
