"""The end of a program that did not close its producers: deliver what waits, or report the loss.

The hook runs when the main thread has ended and no other thread but daemons is left. Those still
run then, so the senders' own threads deliver; when their time is over, what is left is reported
on stderr. The exit status stays as it is. A process that ends by `os._exit` or by a signal that it
does not handle runs no hook: its programs have to close.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ending(Protocol):
    """Something that holds messages of a process."""

    pid: int
    """Of that process: the child of a fork delivers nothing of its parent's."""

    def finish(self, started_s: float) -> list[str]:
        """Deliver what is held, and return a line for each topic of which something is not.

        Args:
            started_s: monotonic time at which the end of the program began.
        """
        ...


_known: weakref.WeakSet[Ending] = weakref.WeakSet()
_children_hooked: set[int] = set()


def deliver_at_exit(ending: Ending) -> None:
    """Have what an object holds delivered at the end of the program, as long as it lives."""
    _known.add(ending)
    _hook_child()


def _hook_child() -> None:
    """Run at the end of a child of `multiprocessing`, too, which skips what `atexit` knows."""
    util: Any = sys.modules.get("multiprocessing.util")
    process: Any = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None:
        return
    if os.getpid() not in _children_hooked:
        _children_hooked.add(os.getpid())
        util.Finalize(None, finish_all, exitpriority=0)


def finish_all() -> None:
    """Deliver what every producer of this process holds, and name what it cannot."""
    started_s = time.monotonic()
    for ending in list(_known):
        if ending.pid == os.getpid():
            say(ending.finish(started_s))


def say(lines: Iterable[str]) -> None:
    """Write lines to stderr, if there is one."""
    for line in lines:
        if sys.stderr is not None:
            sys.stderr.write(f"{line}\n")


atexit.register(finish_all)
