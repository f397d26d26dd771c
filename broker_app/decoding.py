"""Decodes record batches: small ones at once, large ones in a thread beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from http_base.garbage import collection_paused
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.records import decode_rows, read_header, to_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.records import BatchHeader, Record

T = TypeVar("T")
LARGE_BYTES = 256 << 10
"""A batch that takes more than this in memory, decoded, keeps an event loop busy for too long."""
PAUSE_BYTES = 64 << 10
"""After so much that was decoded in the event loop, whatever else waits there gets its turn."""

AT_ONCE_MAX = 500
"""To make records or answers of more messages keeps an event loop busy for more than 5 ms."""


class Contents(NamedTuple):
    """The messages of a stored batch."""

    header: BatchHeader
    records: list[Record] | None
    """None when its checksum is right and nobody can decode it."""
    why: str = ""
    """Why not."""


class Decoding:
    """Decodes batches, large ones one at a time, which bounds the memory that they take."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="decoding")
        self._since_pause_bytes = 0

    async def check(self, batch: bytes) -> BatchHeader:
        """Return the header of a batch that every reader can read.

        Raises:
            CorruptBatch: it is not one; `record` and `field` say where, as far as that is known.
            InvalidRequest: the package of its codec is missing here.
        """
        return await self._look(batch, _check)

    async def read(self, batch: bytes) -> Contents:
        """Return the messages of a batch.

        Raises:
            CorruptBatch: it is damaged: its header or its checksum is wrong.
            InvalidRequest: the package of its codec is missing here.
        """
        contents = await self._look(batch, _read)
        self._since_pause_bytes += contents.header.decoded_bytes
        if self._since_pause_bytes > PAUSE_BYTES:
            # One answer may need many batches: others that wait in the loop go first.
            self._since_pause_bytes = 0
            await asyncio.sleep(0)
        return contents

    async def _look(self, batch: bytes, work: Callable[[bytes, BatchHeader], T]) -> T:
        if (header := _header_of_small(batch)) is not None:
            return work(batch, header)
        return await self.beside(partial(_with_header, batch, work))

    async def beside(self, work: Callable[[], T]) -> T:
        """Return what some work in Python gives, done beside the loop when its turn comes."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _without_search, work)

    def close(self) -> None:
        """Let the thread end."""
        self._executor.shutdown(wait=False)


def check_small(batch: bytes) -> BatchHeader | None:
    """Do what `Decoding.check` does for a small batch; None for a large one.

    Raises: what that raises.
    """
    header = _header_of_small(batch)
    return None if header is None else _check(batch, header)


def _header_of_small(batch: bytes) -> BatchHeader | None:
    """Return the header of a batch that may be decoded in an event loop, None for another."""
    if len(batch) > LARGE_BYTES:
        return None
    header = read_header(batch)
    return header if header.decoded_bytes <= LARGE_BYTES else None


def _without_search(work: Callable[[], T]) -> T:
    with collection_paused():
        return work()


def _with_header(batch: bytes, work: Callable[[bytes, BatchHeader], T]) -> T:
    return work(batch, read_header(batch))


def _check(batch: bytes, header: BatchHeader) -> BatchHeader:
    decode_rows(batch, header, is_new=True)
    return header


def _read(batch: bytes, header: BatchHeader) -> Contents:
    try:
        return Contents(header, to_records(decode_rows(batch, header), header))
    except CorruptBatch as error:
        return Contents(header, None, error.message)
