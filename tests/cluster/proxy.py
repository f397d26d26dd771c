"""A TCP proxy before a broker's Raft port, with rules for each directed link.

Two brokers share two connections, each dialled by one of them and used for its own RPCs. The proxy
learns from the first frame who dials, so one proxy per broker sees every directed link to it.
"""

from __future__ import annotations

import asyncio
import random
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

_PREFIX = struct.Struct(">II")
_META_BYTES = 18
_HANDSHAKE_KINDS = range(2, 6)
_BROKER_ID_FIELD = 2
"""Place of the dialler's broker id in its greeting."""


@dataclass(frozen=True, slots=True)
class Link:
    """What happens to the RPCs that one broker sends to another."""

    cut: bool = False
    """No connection: present ones are closed, new ones refused."""
    silent: bool = False
    """The connection stands, nothing arrives."""
    delay_seconds: float = 0.0
    lost: float = 0.0
    """Share of frames that vanish."""
    doubled: float = 0.0
    """Share of frames that arrive twice."""
    reordered: float = 0.0
    """Share of frames that change places with the next one."""


WHOLE = Link()


class Network:
    """All proxies of a cluster, run by one thread; its methods may be called from the test."""

    def __init__(self) -> None:
        """Start the thread; nothing is carried yet."""
        self._random = random.Random()
        self._links: dict[tuple[int, int], Link] = defaultdict(lambda: WHOLE)
        """By the ids of two brokers."""
        self._connections: dict[tuple[int, int], set[asyncio.StreamWriter]] = defaultdict(set)
        """By the id of the dialler and the port where it wants to arrive."""
        self._broker_at: dict[int, int] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self.frames = 0
        """Frames that passed or were meddled with."""

    def seed(self, seed: int) -> None:
        """Decide which frames are lost, doubled and reordered from now on."""
        self._random.seed(seed)

    def add(self, port: int, listen_on: int) -> None:
        """Put a proxy before a Raft port; it is to be dialled instead."""
        self._call(self._listen(port, listen_on))

    def name(self, port: int, broker_id: int) -> None:
        """Say who listens on a Raft port, as soon as the broker has its id."""
        self._broker_at[port] = broker_id

    def set(self, source: int, target: int, link: Link) -> None:
        """Change the rules of one directed link."""
        self._call(self._set(source, target, link))

    def isolate(self, broker_id: int, others: list[int], link: Link) -> None:
        """Apply rules to every link from and to one broker."""
        for other in others:
            if other != broker_id:
                self.set(broker_id, other, link)
                self.set(other, broker_id, link)

    def heal(self) -> None:
        """Make every link whole again."""
        for source, target in list(self._links):
            self.set(source, target, WHOLE)

    @property
    def is_whole(self) -> bool:
        """True when no link has rules."""
        return all(link == WHOLE for link in self._links.values())

    def close(self) -> None:
        """Close everything and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _set(self, source: int, target: int, link: Link) -> None:
        self._links[source, target] = link
        if link.cut:
            for ends in list(self._connections):
                if self._link_of(ends) == (source, target):
                    for writer in self._connections.pop(ends):
                        writer.transport.abort()

    def _link_of(self, ends: tuple[int, int]) -> tuple[int, int]:
        source, port = ends
        return source, self._broker_at.get(port, 0)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, port: int, listen_on: int) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._carry(reader, writer, port))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", listen_on, limit=1 << 25)
        self._servers.append(server)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        """Carry one connection: frames to the broker by the rules, the answers as they are."""
        writers = [writer]
        with suppress(OSError, asyncio.IncompleteReadError):
            hello = await _read_frame(reader)
            source = msgspec.msgpack.decode(hello[_PREFIX.size + _META_BYTES :])[_BROKER_ID_FIELD]
            ends = (source, port)
            if not self._links[self._link_of(ends)].cut:
                target_reader, target_writer = await asyncio.open_connection("127.0.0.1", port)
                writers.append(target_writer)
                self._connections[ends].update(writers)
                target_writer.write(hello)
                await asyncio.wait(
                    [
                        self._loop.create_task(self._forward(reader, target_writer, ends)),
                        self._loop.create_task(_copy(target_reader, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                self._connections[ends].difference_update(writers)
        for one in writers:
            one.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: tuple[int, int]
    ) -> None:
        """Forward whole frames by the rules of the link, until the connection ends."""
        kept: bytes | None = None
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _read_frame(reader)
                self.frames += 1
                link = self._links[self._link_of(ends)]
                if link.delay_seconds:
                    await asyncio.sleep(link.delay_seconds)
                if frame[_PREFIX.size + 1] in _HANDSHAKE_KINDS:
                    writer.write(frame)
                    continue
                if link.silent or self._random.random() < link.lost:
                    continue
                if kept is None and self._random.random() < link.reordered:
                    kept = frame
                    continue
                writer.write(frame)
                if self._random.random() < link.doubled:
                    writer.write(frame)
                if kept is not None:
                    writer.write(kept)
                    kept = None
                await writer.drain()


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    prefix = await reader.readexactly(_PREFIX.size)
    length, _ = _PREFIX.unpack(prefix)
    return prefix + await reader.readexactly(length)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
