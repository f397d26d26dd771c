"""A process that is killed while it installs snapshots and compacts: at some moment, or at each.

`loop DIRECTORY FIRST` goes on after the first writes and prints the number of those done.
`each DIRECTORY` makes a base there, then for each statement of one cycle of writes a process that
kills itself before it, and verifies what that one left.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.django_process import set_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.storage.sqlite.storage import SqliteStorage


GOES_ON_EVERY = 8
"""Of that many killed processes one is followed by another that writes the rest."""


def opened(directory: Path) -> SqliteStorage:
    from raft_app.storage.sqlite.storage import SqliteStorage

    storage = SqliteStorage(directory, wal_limit_bytes=256 << 10)
    storage.open()
    return storage


def loop(directory: Path, first: int) -> None:
    from tests.raft_app.storage.snapshot_writes import writes

    storage = opened(directory)
    for number, operations in enumerate(islice(writes(), first, None), first + 1):
        storage.write(operations)
        os.write(1, b"%d\n" % number)


def each(directory: Path) -> None:
    from tests.raft_app.storage.snapshot_writes import WRITES_PER_CYCLE, models, writes

    first, end = 1 + WRITES_PER_CYCLE, 1 + 2 * WRITES_PER_CYCLE
    base = directory / "base"
    storage = opened(base)
    for operations in islice(writes(), first):
        storage.write(operations)
    storage.close()
    expected = models(first, end + 1)
    for statement in count(1):
        place = directory / str(statement)
        shutil.copytree(base, place)
        done, killed = killed_before(statement, place, first=first, end=end)
        if not killed:
            sys.stdout.write(f"{statement - 1}\n")
            return
        done = verify(place, expected, first=first, done=done)
        if statement % GOES_ON_EVERY == 0:
            go_on(place, expected, first=first, done=done)
        shutil.rmtree(place)


def killed_before(statement: int, place: Path, *, first: int, end: int) -> tuple[int, bool]:
    """Return how many writes a process finished, and whether it was killed."""
    from tests.raft_app.storage.snapshot_writes import writes

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        storage = opened(place)
        with storage._database.connection() as connection:
            connection.execute_wrappers.append(kill_before(statement))
            for operations in islice(writes(), first, end):
                storage.write(operations)
                os.write(writing, b".")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        done = len(told.read())
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"statement {statement}: status {status}"
    return done, killed


def kill_before(statement: int) -> Callable[..., Any]:
    numbers = count(1)

    def wrapper(execute: Callable[..., Any], *call: Any) -> Any:
        if next(numbers) == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*call)

    return wrapper


def verify(place: Path, expected: list[dict[str, Any]], *, first: int, done: int) -> int:
    """The finished writes are there, the next one as a whole or not; return how many are."""
    from tests.raft_app.storage.snapshot_writes import told

    storage = opened(place)
    found = told(storage)
    storage.close()
    if found != expected[done]:  # Killed after the commit, while the WAL was written back.
        done += 1
        assert found == expected[done], f"write {first + done}"
    return done


def go_on(place: Path, expected: list[dict[str, Any]], *, first: int, done: int) -> None:
    """The other writes can be carried out as if nothing had happened."""
    from tests.raft_app.storage.snapshot_writes import told, writes

    storage = opened(place)
    for operations in islice(writes(), first + done, first + len(expected) - 1):
        storage.write(operations)
    assert told(storage) == expected[-1]
    storage.close()


if __name__ == "__main__":
    set_up()
    match sys.argv[1:]:
        case ["loop", directory, first]:
            loop(Path(directory), int(first))
        case ["each", directory]:
            each(Path(directory))
