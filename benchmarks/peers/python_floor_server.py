"""A server of the Python floor: a leader with two followers, or a follower.

    python -m benchmarks.peers.python_floor_server [--wal-grows] PORT DATABASE [FOLLOWER_PORT ...]

Every server commits every entry to SQLite in a thread of its own, all that wait in one
transaction. The leader answers when two of the three have it. A batch is one entry, which only who
sends and who reads look into. There are no elections, no terms, no topics and no deduplication:
what the product needs beyond this is the product's own cost. With `--wal-grows` the WAL is never
written back: each commit makes its file longer, which the file system writes down, too.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import struct
import threading
import zlib
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import msgspec
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

QUORUM = 2
READY = "ready"
"""Printed when a server listens: somebody else may have its port, so that a look proves nothing."""
READ_BYTES = 1 << 20
"""About what one answer to a reader has at most, beside its last entry."""
CONNECT_PAUSE_S = 0.02

_HEAD = struct.Struct("<II")
"""Length and CRC-32 of what follows."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Frames(asyncio.Protocol):
    """Messages over a stream: head, then MessagePack."""

    def __init__(
        self,
        handle: Callable[[Frames, Any], None],
        lose: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Be ready for a connection.

        Args:
            handle: is given every message that comes, with these frames to answer on.
            lose: is told when the connection is gone, and why.
        """
        self._handle = handle
        self._lose = lose
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to send."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass.

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever wants to know."""
        if self._lose is not None:
            self._lose(exc)

    def data_received(self, data: bytes) -> None:
        """Handle the messages that are complete."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= _HEAD.size:
            length, checksum = _HEAD.unpack_from(data, at)
            following = at + _HEAD.size + length
            if following > end:
                break
            body = data[at + _HEAD.size : following]
            assert zlib.crc32(body) == checksum, "a frame is damaged"
            at = following
            self._handle(self, _decode(body))
        self._rest = data[at:]

    def send(self, message: Any) -> None:
        """Send a message."""
        assert self._transport is not None, "connected"
        body = _encode(message)
        self._transport.write(_HEAD.pack(len(body), zlib.crc32(body)) + body)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class Storage:
    """Entries in SQLite, written by one thread."""

    def __init__(self, path: str, *, wal_grows: bool = False) -> None:
        """Open a new file.

        Args:
            path: of the file.
            wal_grows: its WAL is never written back.
        """
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._wal_grows = wal_grows
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, value BLOB)")
        self._waiting: deque[tuple[list[tuple[int, bytes]], Callable[[], None]]] = deque()
        self._wake = threading.Semaphore(0)
        threading.Thread(target=self._write, name="storage", daemon=True).start()

    def append(self, index: int, value: bytes, done: Callable[[], None]) -> None:
        """Write an entry; `done` is called in the loop when it is durable."""
        self._waiting.append(([(index, value)], done))
        self._wake.release()

    def call_after(self, done: Callable[[], None]) -> None:
        """Call `done` in the loop when every entry that was given before is durable."""
        self._waiting.append(([], done))
        self._wake.release()

    def read(self, after: int) -> list[tuple[int, bytes]]:
        """Return entries behind an index, in order."""
        with closing(sqlite3.connect(self._path)) as connection:
            entries: list[tuple[int, bytes]] = []
            size = 0
            rows = connection.execute(
                "SELECT id, value FROM entry WHERE id > ? ORDER BY id", (after,)
            )
            for index, value in rows:
                entries.append((index, value))
                size += len(value)
                if size >= READ_BYTES:
                    break
            return entries

    def _write(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        if self._wal_grows:
            connection.execute("PRAGMA wal_autocheckpoint=0")
        while True:
            self._wake.acquire()
            jobs = [self._waiting.popleft()]
            while self._waiting and self._wake.acquire(blocking=False):
                jobs.append(self._waiting.popleft())
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO entry VALUES (?, ?)",
                [entry for entries, _ in jobs for entry in entries],
            )
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_call_all, [done for _, done in jobs])


class Follower:
    """Stores what the leader sends and says so."""

    def __init__(self, storage: Storage) -> None:
        """Begin empty."""
        self._storage = storage

    def handle(self, frames: Frames, message: Any) -> None:
        """Take an entry: index and value; the answer is the index."""
        index, value = message
        self._storage.append(index, value, lambda: frames.send(index))


class Leader:
    """Numbers entries, replicates them, and answers when a quorum has them."""

    def __init__(self, storage: Storage) -> None:
        """Begin empty; the followers' frames are added to `followers`."""
        self.followers: list[Frames] = []
        self._storage = storage
        self._last = 0
        self._waiting: dict[int, tuple[Frames, int]] = {}
        """By index: who asked, and the number of the request."""
        self._stored: dict[int, int] = {}
        """By index: on how many servers; gone when answered."""

    def handle(self, frames: Frames, message: Any) -> None:
        """Take a request: number and a value to append, or an index behind which to read.

        The followers may have what is not in this database yet: a reader waits for it.
        """
        number, what = message
        if isinstance(what, int):
            self._storage.call_after(lambda: frames.send((number, self._storage.read(what))))
            return
        self._last = index = self._last + 1
        self._waiting[index] = (frames, number)
        self._stored[index] = 0
        for follower in self.followers:
            follower.send((index, what))
        self._storage.append(index, what, lambda: self._count(index))

    def handle_stored(self, frames: Frames, index: Any) -> None:
        """Take a follower's word that it has an entry."""
        self._count(index)

    def _count(self, index: int) -> None:
        stored = self._stored.get(index)
        if stored is None:
            return
        if stored + 1 < QUORUM:
            self._stored[index] = stored + 1
            return
        del self._stored[index]
        frames, number = self._waiting.pop(index)
        frames.send((number, index))


async def connect(
    port: int,
    handle: Callable[[Frames, Any], None],
    lose: Callable[[Exception | None], None] | None = None,
) -> Frames:
    """Return frames to a server of this machine, as soon as it listens."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, frames = await loop.create_connection(
                lambda: Frames(handle, lose), "127.0.0.1", port
            )
        except ConnectionRefusedError:
            await asyncio.sleep(CONNECT_PAUSE_S)
        else:
            return frames


async def serve(port: int, path: str, follower_ports: list[int], *, wal_grows: bool) -> None:
    """Serve for ever: as the leader of followers, or as a follower when there are none."""
    storage = Storage(path, wal_grows=wal_grows)
    handle = Follower(storage).handle
    if follower_ports:
        leader = Leader(storage)
        leader.followers += [await connect(one, leader.handle_stored) for one in follower_ports]
        handle = leader.handle
    server = await asyncio.get_running_loop().create_server(
        lambda: Frames(handle), "127.0.0.1", port
    )
    print(READY, flush=True)
    await server.serve_forever()


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()


if __name__ == "__main__":
    words = argparse.ArgumentParser()
    words.add_argument("--wal-grows", action="store_true")
    words.add_argument("port", type=int)
    words.add_argument("path")
    words.add_argument("follower_ports", type=int, nargs="*")
    uvloop.run(serve(**vars(words.parse_args())))
