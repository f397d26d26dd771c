"""A TCP proxy before a database that can fall silent: connections stand, nothing arrives."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self


class SilentProxy:
    """Forwards connections to a port of this machine; one thread runs it.

    A connection that was silent once stays so, as one to a machine that is gone: who waits on it
    hears nothing, no end either.
    """

    def __init__(self, target_port: int) -> None:
        """Stand before `target_port`; nothing is opened before `with`."""
        self._target_port = target_port
        self._silent = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="silent-proxy")
        self._connections: set[asyncio.Task[None]] = set()
        self._allowed: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def silence(self) -> None:
        """Let nothing arrive any more, on these connections or new ones."""
        self._call(self._set(silent=True))

    def speak(self) -> None:
        """Forward the connections that come from now on."""
        self._call(self._set(silent=False))

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _set(self, *, silent: bool) -> None:
        self._silent = silent
        if silent:
            self._allowed.clear()

    async def _serve(self, reader, writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            if self._silent:
                await asyncio.Event().wait()
            self._allowed.add(task)
            back, there = await asyncio.open_connection("127.0.0.1", self._target_port)
            writers.append(there)
            await asyncio.gather(
                self._forward(task, reader, there), self._forward(task, back, writer)
            )
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._connections.discard(task)
            self._allowed.discard(task)
            for one in writers:
                one.transport.abort()
            for one in writers:
                with suppress(ConnectionError):
                    await one.wait_closed()

    async def _forward(self, connection, reader, writer) -> None:
        while data := await reader.read(1 << 16):
            if connection not in self._allowed:
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
        if connection not in self._allowed:
            await asyncio.Event().wait()
        writer.close()

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
