"""Puts a database that is in doubt out of the way, as it was found."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from raft_app.failpoints import reach
from raft_app.storage.sqlite.database import FILE_NAME
from raft_app.storage.sqlite.directory import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = ("", "-wal", "-shm", "-journal")
REASON_NAME = "reason.txt"
_UNFINISHED = ".unfinished"


def set_aside(directory: Path, reason: str) -> Path | None:
    """Move the database's files into `directory/damaged-N`, with the reason; nothing is deleted.

    Cut off at any point, it goes on where it was when it is called again.

    Returns:
        The new directory; `None` when there were no files.

    Raises:
        OSError: the disk refused.
    """
    found = [name for suffix in SUFFIXES if (directory / (name := FILE_NAME + suffix)).exists()]
    place = _place(directory)
    unfinished = place.with_name(place.name + _UNFINISHED)
    if not found and not unfinished.exists():
        return None
    unfinished.mkdir(mode=0o700, exist_ok=True)
    (unfinished / REASON_NAME).write_text(reason + "\n")
    reach("aside.made")
    for name in found:
        (directory / name).rename(unfinished / name)
        reach("aside.moved")
    sync_directory(unfinished)
    unfinished.rename(place)
    reach("aside.named")
    sync_directory(directory)
    reach("doubt.set-aside")
    return place


def _place(directory: Path) -> Path:
    return next(
        place for number in count(1) if not (place := directory / f"damaged-{number}").exists()
    )
