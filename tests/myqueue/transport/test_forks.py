from __future__ import annotations

import gc
import os

from myqueue.transport import forks


class Told:
    def __init__(self) -> None:
        self.times = 0

    def restart_after_fork(self) -> None:
        self.times += 1


def test_objects_are_told_in_the_child_alone() -> None:
    told = Told()
    forks.restart_in_child(told)
    child = os.fork()
    if child == 0:
        os._exit(told.times)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert told.times == 0


def test_dropped_objects_are_forgotten() -> None:
    told = Told()
    forks.restart_in_child(told)
    before = len(forks._known)
    del told
    gc.collect()
    assert len(forks._known) < before
