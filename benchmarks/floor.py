"""What the bare disk does: the floor under every durable write.

Measured in the directory of the cluster's data, so that a figure of the cluster can be told as a
ratio to it: absolute figures move from machine to machine, ratios hardly.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from benchmarks.measurement import Figure, Measurement, measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 0.5
"""How long each kind of write is repeated."""
MESSAGE_BYTES = 100
BLOB_MESSAGES = 1_000
BLOB_BYTES = BLOB_MESSAGES * (MESSAGE_BYTES + 6)
"""A record batch adds about 6 bytes to each message."""


class FloorKind(StrEnum):
    """A kind of durable write; the value is the attribute's name in `Floor`."""

    APPEND_4K = "append_4k"
    APPEND_64K = "append_64k"
    SQLITE_ROW = "sqlite_row"
    SQLITE_BLOB = "sqlite_blob"

    @property
    def label(self) -> str:
        """How a table calls it."""
        return _LABELS[self]


_LABELS = {
    FloorKind.APPEND_4K: "append 4 KiB + fdatasync",
    FloorKind.APPEND_64K: "append 64 KiB + fdatasync",
    FloorKind.SQLITE_ROW: "SQLite (WAL, FULL), one row a transaction",
    FloorKind.SQLITE_BLOB: "SQLite (WAL, FULL), a 1,000-message blob a transaction",
}


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """Each kind of write, one at a time."""

    append_4k: Measurement
    append_64k: Measurement
    sqlite_row: Measurement
    sqlite_blob: Measurement
    """In messages, 1,000 a transaction; latencies are those of transactions."""

    def value(self, kind: FloorKind, figure: Figure) -> float:
        """Return one figure of one kind."""
        found: Measurement = getattr(self, kind.value)
        return found.value(figure)


def measure_floor(directory: Path, *, seconds: float = SECONDS) -> Floor:
    """Measure all kinds in files of `directory`, which are removed again.

    Args:
        directory: where the brokers will keep their data, or beside it.
        seconds: for each kind.
    """
    return Floor(
        append_4k=_appends(directory / "floor.4k", 4 << 10, seconds),
        append_64k=_appends(directory / "floor.64k", 64 << 10, seconds),
        sqlite_row=_inserts(directory / "floor.row", MESSAGE_BYTES, seconds),
        sqlite_blob=_inserts(directory / "floor.blob", BLOB_BYTES, seconds, BLOB_MESSAGES),
    )


def _appends(path: Path, size_bytes: int, seconds: float) -> Measurement:
    content = os.urandom(size_bytes)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def append() -> None:
        written = os.write(descriptor, content)
        assert written == size_bytes, f"{written} of {size_bytes} bytes were written"
        os.fdatasync(descriptor)

    try:
        return _repeat(append, seconds)
    finally:
        os.close(descriptor)
        path.unlink()


def _inserts(path: Path, size_bytes: int, seconds: float, messages: int = 1) -> Measurement:
    content = os.urandom(size_bytes)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, data BLOB)")

            def insert() -> None:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO entry (data) VALUES (?)", (content,))
                connection.execute("COMMIT")

            return _repeat(insert, seconds, messages)
    finally:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _repeat(write: Callable[[], None], seconds: float, messages: int = 1) -> Measurement:
    """Write once untimed, then for some seconds."""
    write()
    latencies_s = []
    started = now = time.perf_counter()
    while now < started + seconds:
        write()
        before, now = now, time.perf_counter()
        latencies_s.append(now - before)
    return measure(
        messages=len(latencies_s) * messages, seconds=now - started, latencies_s=latencies_s
    )
