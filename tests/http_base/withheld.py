"""Requests over a real socket whose bodies never come."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from queuesite.serving import HttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER_S = 10
"""An answer that needs longer waits for the body."""


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[HttpServer]:
    """Serve an application."""
    server = HttpServer(host="127.0.0.1", port=0)
    server.bind()
    await server.start(app)
    try:
        yield server
    finally:
        await server.stop()


class Withheld:
    """One request that announced its body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def send(
        cls, port: int, path: str, *, length: int | None = 1 << 20, **headers: str
    ) -> Withheld:
        """Send the head of a POST; its body has `length` bytes, or is chunked."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = [f"POST {path} HTTP/1.1", "Host: server", framing]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        made._writer.write("\r\n".join([*lines, "", ""]).encode())
        return made

    async def answer(self) -> tuple[int, bytes]:
        """Return (status, body) of what is answered although no body came."""
        async with asyncio.timeout(ANSWER_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            [length] = [line for line in head.split(b"\r\n") if line.startswith(b"content-length")]
            body = await self._reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1]), body

    async def leave(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()
