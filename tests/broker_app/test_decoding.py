"""Looking into batches: what is large is decoded beside the loop, one at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from broker_app import decoding
from broker_app.decoding import LARGE_BYTES, PAUSE_BYTES, Decoding
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.records import CODEC_ZSTD, Record, decode_rows, encode_batch, read_header
from tests.batches import undecodable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myqueue.contract.records import BatchHeader, Row

LARGE = encode_batch([Record("x" * LARGE_BYTES)])


@pytest.fixture
def decodes() -> Iterator[Decoding]:
    made = Decoding()
    yield made
    made.close()


async def test_a_batch_is_read_or_its_header_is_all_that_is_known(decodes: Decoding) -> None:
    record = Record("v", b"k", {"h": "1"}, 7)
    for batch in (encode_batch([record]), LARGE):
        contents = await decodes.read(batch)
        assert (contents.header, contents.why) == (read_header(batch), "")
        assert await decodes.check(batch) == contents.header
    assert (await decodes.read(encode_batch([record]))).records == [record]


@pytest.mark.parametrize("kind", undecodable())
async def test_what_nobody_can_decode_is_refused_and_told_apart_from_damage(
    decodes: Decoding, kind: str
) -> None:
    batch = undecodable()[kind]
    with pytest.raises(CorruptBatch):
        await decodes.check(batch)
    contents = await decodes.read(batch)
    assert contents.records is None
    assert contents.why
    assert contents.header == read_header(batch)


async def test_damage_is_raised_whatever_the_size(decodes: Decoding) -> None:
    for batch in (encode_batch([Record("v")]), LARGE):
        damaged = batch[:-1] + b"\xc1"
        for look in (decodes.check, decodes.read):
            with pytest.raises(CorruptBatch, match="checksum"):
                await look(damaged)


async def test_large_batches_are_decoded_beside_the_loop_one_at_a_time(
    decodes: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    inside = most = 0

    def noting(batch: bytes, header: BatchHeader, *, is_new: bool = False) -> list[Row]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threads.append(threading.current_thread().name)
        try:
            return decode_rows(batch, header, is_new=is_new)
        finally:
            inside -= 1

    monkeypatch.setattr(decoding, "decode_rows", noting)
    few = encode_batch([Record("x" * 200)] * 100)
    many = encode_batch([Record("")] * 10_000)
    packed = encode_batch([Record("x" * LARGE_BYTES)], codec=CODEC_ZSTD)
    for batch in (few, many, packed, LARGE):
        await decodes.read(batch)
        await decodes.check(batch)
    beside = [name.startswith("decoding") for name in threads]
    assert beside == [False, False, True, True, True, True, True, True]
    await asyncio.gather(*(decodes.read(LARGE) for _ in range(9)))
    assert most == 1


async def test_others_get_their_turn_while_many_small_batches_are_read(decodes: Decoding) -> None:
    """All that one answer needs would keep the loop for seconds: none of them is large."""
    turns = 0

    async def wait_for_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.ensure_future(wait_for_turns())
    batch = encode_batch([Record("x" * 200)] * 50)
    size = read_header(batch).decoded_bytes
    assert size < PAUSE_BYTES / 3
    for _ in range(200):
        await decodes.read(batch)
    other.cancel()
    assert turns >= 200 // (PAUSE_BYTES // size + 1) - 1
