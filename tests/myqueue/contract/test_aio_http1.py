from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from myqueue.contract.aio_http1 import AsyncConnection
from myqueue.contract.http1 import READ_BYTES, BadAnswer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
LIMIT_S = 10.0


@asynccontextmanager
async def connected(answers: list[bytes], *, space: memoryview | None = None):
    """Connect to a server that sends these bytes, one after each request, and then hangs up."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the client may end it at any time
            for answer in answers:
                if not await reader.read(1 << 10):
                    break
                writer.write(answer)
            writer.close()
            await writer.wait_closed()
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: AsyncConnection(space), "127.0.0.1", port
        )
        try:
            yield connection
        finally:
            connection.close()
            await asyncio.wait_for(ended.wait(), LIMIT_S)


async def answered(connection: AsyncConnection) -> bytes:
    return (await asyncio.wait_for(connection.send(b"x"), LIMIT_S)).body


async def test_requests_go_one_after_the_other_over_one_connection() -> None:
    async with connected([ANSWER + b"ab", ANSWER + b"cd", ANSWER + b"ef"]) as connection:
        assert [await answered(connection) for _ in range(2)] == [b"ab", b"cd"]
        assert connection.reusable


async def test_connections_of_a_loop_may_share_where_bytes_go_first() -> None:
    space = memoryview(bytearray(READ_BYTES))
    async with (
        connected([ANSWER + b"ab", b""], space=space) as one,
        connected([ANSWER + b"cd", b""], space=space) as other,
    ):
        assert await asyncio.gather(answered(one), answered(other)) == [b"ab", b"cd"]


@pytest.mark.parametrize("sent", [b"", ANSWER + b"a", b"no HTTP at all\r\n\r\n"])
async def test_what_is_no_whole_answer_fails_and_ends_the_connection(sent: bytes) -> None:
    async with connected([sent]) as connection:
        with pytest.raises(BadAnswer):
            await answered(connection)
        assert not connection.reusable


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    async with connected([ANSWER + b"ab", ANSWER + b"cd"]) as connection:
        assert await answered(connection) == b"ab"
        connection.buffer_updated(0)
        assert connection.closed
        assert not connection.reusable


async def test_one_that_was_closed_answers_no_more() -> None:
    async with connected([ANSWER + b"ab"]) as connection:
        waiting = connection.send(b"x")
        connection.close()
        with pytest.raises(BadAnswer):
            await asyncio.wait_for(waiting, LIMIT_S)
