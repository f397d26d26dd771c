"""Starting anew in the child of a fork (Celery, gunicorn prefork).

Threads do not survive a fork, locks may be held in it for ever, and sockets are shared with the
parent. Every object with any of these registers here and is told once in the child.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something with threads, locks or sockets."""

    def restart_after_fork(self) -> None:
        """Make new locks, forget threads and connections."""
        ...


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def restart_in_child(forkable: Forkable) -> None:
    """Have the object told in the child of every later fork, as long as it lives."""
    _known.add(forkable)


def _restart_all() -> None:
    for forkable in list(_known):
        forkable.restart_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
