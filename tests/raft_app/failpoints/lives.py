"""Lets a directory live in processes that kill themselves at a failpoint, and looks at the rest.

A life is killed once at each of a sample of times that it reaches a point, and checked in another
process. After the first time it goes on: it is killed at the same point again, then while it
recovers from that, and is checked each time; then it comes to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import traceback
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Protocol

from raft_app.failpoints import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RECOVERY = "wal.emptied"
"""Reached in the start of whoever was killed."""


class Life(Protocol):
    """What a directory goes through; each method runs in a process of its own."""

    samples: int
    """Of so many of the times that a point is reached, a life is killed there."""
    points: Sequence[str]
    """Where it is killed; everywhere when empty."""

    def prepare(self, place: Path) -> None:
        """Make what every life begins with; no process is left that has it open."""

    def live(self, place: Path, done: int, tell: Callable[[str], None]) -> None:
        """Do all steps but the first `done`; tell a line when one may be acknowledged."""

    def check(self, place: Path, done: int, told: list[str]) -> int:
        """See that the acknowledged steps are there and the next one wholly or not at all.

        Args:
            place: a copy of the directory.
            done: how many steps were there before, or were acknowledged since.
            told: the lines of all processes so far.

        Returns:
            How many steps are there.
        """


def examine(life: Life, directory: Path) -> Counter[str]:
    """Kill lives at every point that they reach; return how often at each."""
    base = directory / "base"
    base.mkdir(parents=True)
    in_process(life.prepare, base)
    numbers = count(1)
    kills: Counter[str] = Counter()
    for name, times in reached(life, copied(base, directory / "counted")).items():
        if life.points and name not in life.points:
            continue
        for nth in range(1, times + 1, -(-times // life.samples)):
            again = [(name, 1), (RECOVERY, 1)] if nth == 1 else []
            place = copied(base, directory / str(next(numbers)))
            kills[name] += _end(life, place, [(name, nth), *again])
            shutil.rmtree(place)
    return kills


def _end(life: Life, place: Path, points: Sequence[tuple[str, int]]) -> int:
    """Be killed at each of some points in turn, then live to the end; return the kills."""
    told: list[str] = []
    done = kills = 0
    for point, times in points:
        lines, killed = killed_at(life, place, done, point=point, nth=times)
        told += lines
        kills += killed
        done = checked(life, place, done + len(lines), told)
    lines, killed = killed_at(life, place, done, point="", nth=1)
    assert not killed
    checked(life, place, done + len(lines), told + lines)
    return kills


def checked(life: Life, place: Path, done: int, told: list[str]) -> int:
    """Check a copy, so that the next process finds what the killed one left."""
    copy = copied(place, place.with_name("checked"))
    found: int = json.loads(in_process(life.check, copy, done, told))
    shutil.rmtree(copy)
    return found


def reached(life: Life, place: Path) -> dict[str, int]:
    """Return how often a life that nobody kills reaches each point."""
    counter: Counter[str] = Counter()

    class Counting(dict[str, "Callable[[], None]"]):
        def __contains__(self, name: object) -> bool:
            counter[str(name)] += 1
            return False

    def run() -> dict[str, int]:
        import raft_app.failpoints

        raft_app.failpoints.ACTIONS = Counting(counted=lambda: None)
        life.live(place, 0, lambda _: None)
        return counter

    found: dict[str, int] = json.loads(in_process(run))
    return found


def killed_at(
    life: Life, place: Path, done: int, *, point: str, nth: int
) -> tuple[list[str], bool]:
    """Live until a point is reached for the `nth` time; return what was told, and if it was."""
    numbers = count(1)

    def kill() -> None:
        if next(numbers) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(tell: Callable[[str], None]) -> None:
        if point:
            ACTIONS[point] = kill
        life.live(place, done, tell)

    return forked(run)


def forked(run: Callable[[Callable[[str], None]], None]) -> tuple[list[str], bool]:
    """Run something in a process; return the lines that it told, and whether it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(lambda line: os.write(writing, f"{line}\n".encode()) and None)
            status = 0
        except BaseException:  # noqa: BLE001 - the edge of this process
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"status {status} after {lines[-3:]}"
    return lines, killed


def in_process(function: Callable[..., object], *arguments: object) -> str:
    """Call a function in a process that ends without closing anything; return its JSON."""
    [line], killed = forked(lambda tell: tell(json.dumps(function(*arguments))))
    assert not killed
    return line


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
