"""WALs made by SQLite itself, and what SQLite makes of a damaged one."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING

from raft_app.storage.wal.scan import WAL_HEADER_BYTES, WalVerdict, scan_wal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MASK = 0xFFFFFFFF


def scan(wal: bytes) -> WalVerdict:
    return scan_wal(BytesIO(wal))


def flipped(wal: bytes, position: int, bit: int = 0) -> bytes:
    damaged = bytearray(wal)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


@dataclass(frozen=True)
class MadeWal:
    """A database in the middle of its life."""

    database: bytes
    wal: bytes
    ends: tuple[int, ...]
    """Length of the used part of the WAL after each transaction of the present generation."""


class WalMaker:
    """Writes transactions as a broker does, and remembers where each ended."""

    def __init__(self, directory: Path, *, page_bytes: int = 4096) -> None:
        self.path = directory / "made.sqlite3"
        self._connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in (
            f"PRAGMA page_size={page_bytes}",
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=OFF",  # Only the order of writes matters here.
            "PRAGMA wal_autocheckpoint=0",
            "CREATE TABLE entry (id INTEGER PRIMARY KEY, data BLOB)",
        ):
            self._connection.execute(statement)
        self._frame_bytes = 24 + page_bytes
        self._ends: list[int] = [self._used()]

    def write(self, *sizes: int) -> None:
        """One transaction: a row of each size."""
        self._connection.execute("BEGIN IMMEDIATE")
        for size in sizes:
            number = self._connection.execute("SELECT count(*) FROM entry").fetchone()[0]
            data = struct.pack(">q", number) * (size // 8)
            self._connection.execute("INSERT INTO entry (data) VALUES (?)", (data,))
        self._connection.execute("COMMIT")
        self._ends.append(self._used())

    def spill(self, *sizes: int) -> None:
        """A transaction under way, so large that a part of it is in the WAL already."""
        self._connection.execute("PRAGMA cache_size=4")
        self._connection.execute("BEGIN IMMEDIATE")
        for size in sizes:
            self._connection.execute("INSERT INTO entry (data) VALUES (zeroblob(?))", (size,))

    def restart(self) -> None:
        """Write the WAL back; the next transaction overwrites it from its beginning."""
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        self._ends = []

    def made(self) -> MadeWal:
        """What a killed process would leave."""
        wal = self.path.with_name("made.sqlite3-wal")
        return MadeWal(self.path.read_bytes(), wal.read_bytes(), tuple(self._ends))

    def close(self) -> None:
        self._connection.close()

    def _used(self) -> int:
        return WAL_HEADER_BYTES + frames_in_index(self.path) * self._frame_bytes


def frames_in_index(database: Path) -> int:
    """Return how many committed frames SQLite's index of a WAL has: its fifth number."""
    index = database.with_name(f"{database.name}-shm").read_bytes()
    frames: int = struct.unpack_from("=I", index, 16)[0]
    return frames


def frames_of_sqlite(directory: Path, database: bytes, wal: bytes) -> int:
    """Return how many frames SQLite itself recovers from a WAL."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    (directory / "db").write_bytes(database)
    (directory / "db-wal").write_bytes(wal)
    with closing(sqlite3.connect(directory / "db", isolation_level=None)) as connection:
        # What it recovers of a WAL that was written back need not fit the database.
        with suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA schema_version").fetchone()
        return frames_in_index(directory / "db")


def spans(ends: Sequence[int]) -> list[range]:
    """Return the bytes of each transaction, the header's with the first."""
    return [range(start, end) for start, end in pairwise([0, *ends])]


def plain_checksum(words: Sequence[int], seed: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """SQLite's checksum as its documentation says it."""
    first, second = seed
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & MASK
        second = (second + odd + first) & MASK
    return first, second


def with_big_endian_checksums(wal: bytes) -> bytes:
    """Return the same WAL as a big-endian machine would have written it."""
    magic, version, page_bytes, number, *salt = struct.unpack(">6I", wal[:24])
    header = struct.pack(">6I", magic | 1, version, page_bytes, number, *salt)
    checksum = plain_checksum(struct.unpack(">6I", header))
    made = header + struct.pack(">2I", *checksum)
    frame_bytes = 24 + page_bytes
    for at in range(WAL_HEADER_BYTES, len(wal), frame_bytes):
        frame = wal[at : at + frame_bytes]
        words = struct.unpack(f">{frame_bytes // 4}I", frame)
        checksum = plain_checksum(words[:2] + words[6:], checksum)
        made += frame[:16] + struct.pack(">2I", *checksum) + frame[24:]
    return made
