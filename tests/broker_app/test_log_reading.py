"""Reading messages from committed batches: any range, within limits."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from broker_app import log_reading as reading
from broker_app.decoding import LARGE_BYTES
from broker_app.log_reading import (
    batches_read,
    decode,
    messages_read,
    size_of,
)
from myqueue.contract.errors import CorruptBatch, InvalidRequest, Overloaded
from myqueue.contract.records import (
    CODEC_ZSTD,
    MAX_TIMESTAMP,
    RECORD_OVERHEAD_BYTES,
    Record,
    encode_batch,
)
from raft_app.storage.protocol import StoredBatch
from tests.batches import crafted, rows, undecodable
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

ONE = RECORD_OVERHEAD_BYTES + 1
"""What a message of one character counts."""


class Reader:
    """Reads a partition with the batches abc, d, ef."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> None:
        self.runtime, self.engine, self.replica = runtime, engine, replica
        self.asked: list[tuple[int, int, int]] = []
        self.corrupt = 0
        """What the last reading stepped over."""
        answer = engine.read_batches

        async def noting(*call: int) -> list[StoredBatch]:
            self.asked.append((call[1], call[2], call[3]))
            return await answer(*call)

        engine.read_batches = noting  # type: ignore[method-assign]

    async def read(self, start: int, end: int = 6, **limits: int) -> str:
        chosen: Any = {"max_messages": 100, "max_bytes": 1 << 20, **limits}
        replica: Any = self.replica
        read = await messages_read(
            runtime=self.runtime, replica=replica, start=start, end=end, **chosen
        )
        self.corrupt = read.corrupt
        return "".join(str(record.value) for _, record in read.messages)


@pytest.fixture
async def reader(runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> Reader:
    for values in ("abc", "d", "ef"):
        await engine.propose(7, batch_of(*values), timeout_ms=1_000)
    return Reader(runtime, engine, replica)


async def test_every_range_is_read_exactly(reader: Reader) -> None:
    for start in range(6):
        for end in range(start + 1, 7):
            for kept in (False, True):
                assert await reader.read(start, end) == "abcdef"[start:end], (start, end, kept)


async def test_every_number_of_messages_is_read_exactly(reader: Reader) -> None:
    for start in range(6):
        for count in range(1, 8):
            assert await reader.read(start, max_messages=count) == "abcdef"[start : start + count]


async def test_empty_range_asks_for_nothing(reader: Reader) -> None:
    assert await reader.read(6) == ""
    assert reader.asked == []


async def test_bytes_are_bounded_to_the_byte_over_batches(reader: Reader) -> None:
    for count in range(1, 7):
        assert await reader.read(0, max_bytes=count * ONE) == "abcdef"[:count]
        assert await reader.read(0, max_bytes=(count + 1) * ONE - 1) == "abcdef"[:count]


async def test_first_message_comes_however_large_and_alone(reader: Reader) -> None:
    for start in range(6):
        assert await reader.read(start, max_bytes=1) == "abcdef"[start]


async def test_batch_in_the_middle_is_kept_and_one_that_is_finished_is_not(reader: Reader) -> None:
    assert await reader.read(0, max_messages=1) == "a"
    assert await reader.read(1, max_messages=2) == "bc"
    assert await reader.read(3, max_messages=1) == "d"
    assert reader.asked == [(0, 6, 1), (3, 6, 1)]
    assert reader.runtime.decode_cache.find(7, 3) is None


async def test_kept_batch_of_another_group_is_not_taken(reader: Reader, engine: EngineTwin) -> None:
    await reader.read(0, max_messages=1)
    other = engine.add("other", 0, group_id=8)
    await engine.propose(8, batch_of("x", "y"), timeout_ms=1_000)
    reader.replica = other
    assert await reader.read(1, end=2, max_messages=1) == "y"


async def test_engine_that_has_nothing_at_the_moment_is_no_end(
    reader: Reader, engine: EngineTwin
) -> None:
    engine.unreadable = True
    with pytest.raises(Overloaded) as refused:
        await reader.read(0)
    assert refused.value.retry_after_ms
    replica: Any = reader.replica
    with pytest.raises(Overloaded, match="offset 4"):
        await batches_read(runtime=reader.runtime, replica=replica, offset=4, end=6, max_bytes=1)


def test_size_counts_bytes_of_everything_a_message_carries() -> None:
    assert size_of(Record("")) == RECORD_OVERHEAD_BYTES
    assert size_of(Record("abc")) == RECORD_OVERHEAD_BYTES + 3
    assert size_of(Record("\N{EURO SIGN}")) == RECORD_OVERHEAD_BYTES + 3
    record = Record(b"\xff\x00", key="\N{LATIN SMALL LETTER E WITH ACUTE}", headers={"ab": b"c"})
    assert size_of(record) == RECORD_OVERHEAD_BYTES + 2 + 2 + 3


def stored(*records: Record, base_offset: int = 40) -> StoredBatch:
    return StoredBatch(base_offset, len(records), 1, encode_batch(list(records)))


async def decoded(runtime: BrokerRuntime, batch: StoredBatch) -> list[Record] | None:
    replica: Any = runtime.engine.replicas[7]
    found = await decode(runtime=runtime, replica=replica, batch=batch)
    return None if found is None else found.records


async def test_decoded_records_are_those_that_were_sent(
    runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    record = Record("v", key="k", headers={"h": "1"}, timestamp=7)
    assert await decoded(runtime, stored(record)) == [record]
    latest = Record("v", timestamp=MAX_TIMESTAMP)
    assert await decoded(runtime, stored(latest)) == [latest]
    large = Record("v" * LARGE_BYTES)
    assert await decoded(runtime, stored(large)) == [large]


async def test_damaged_batch_says_where_to_go_on(
    runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    good = stored(Record("a"), Record("b"))
    bad = StoredBatch(40, 2, 1, good.data[:-1] + bytes([good.data[-1] ^ 1]))
    with pytest.raises(CorruptBatch, match="go on at offset 42") as refused:
        await decoded(runtime, bad)
    assert refused.value.details == {"offset": 40, "next_offset": 42}


async def test_damaged_batch_keeps_nobody_from_the_messages_before_it(
    reader: Reader, replica: ReplicaTwin
) -> None:
    batch = replica.batches[1]
    replica.batches[1] = StoredBatch(3, 1, 1, batch.data[:-1] + b"\xc1")
    assert await reader.read(0) == "abc", "going on behind it would lose them"
    assert await reader.read(0, max_messages=2) == "ab"
    with pytest.raises(CorruptBatch) as refused:
        await reader.read(3)
    assert refused.value.details == {"offset": 3, "next_offset": 4}
    assert await reader.read(4) == "ef"


@pytest.mark.parametrize("kind", undecodable())
async def test_what_nobody_can_decode_is_stepped_over_counted_and_told_once(
    reader: Reader, replica: ReplicaTwin, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = undecodable()[kind]
    replica.batches[1] = StoredBatch(3, 1, 1, data)
    for start, expected in ((0, "abcef"), (3, "ef")):
        assert (await reader.read(start), reader.corrupt) == (expected, 1)
    assert await reader.read(2, max_messages=2) == "ce"
    assert (await reader.read(3, end=4), reader.corrupt) == ("", 1)
    assert reader.runtime.traffic["logs"].messages_corrupt == 4
    told = [record for record in caplog.records if record.name == "broker_app.log_reading"]
    assert len(told) == 1
    assert "offsets 3 to 3" in told[0].getMessage()


async def test_part_of_a_batch_is_stepped_over_as_well(
    reader: Reader, replica: ReplicaTwin
) -> None:
    replica.batches[0] = StoredBatch(0, 3, 1, crafted(rows(*[b"\x07"] * 3), record_count=3))
    assert (await reader.read(1), reader.corrupt) == ("def", 2)
    assert (await reader.read(1, end=2), reader.corrupt) == ("", 1)
    assert (await reader.read(0, max_messages=1), reader.corrupt) == ("d", 3)


async def test_one_reading_steps_over_a_bounded_number_of_batches(
    reader: Reader, replica: ReplicaTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "STEPPED_OVER_MAX", 2)
    bad = undecodable()["no value"]
    replica.batches[:] = [StoredBatch(offset, 1, 1, bad) for offset in range(6)]
    assert (await reader.read(0), reader.corrupt) == ("", 2)


async def test_damaged_batch_behind_one_that_nobody_can_decode_stays_a_fault(
    reader: Reader, replica: ReplicaTwin
) -> None:
    replica.batches[1] = StoredBatch(3, 1, 1, undecodable()["no value"])
    data = replica.batches[2].data
    replica.batches[2] = StoredBatch(4, 2, 1, data[:-1] + b"\xc1")
    assert (await reader.read(3), reader.corrupt) == ("", 1)
    with pytest.raises(CorruptBatch):
        await reader.read(4)


async def test_batch_that_only_this_broker_cannot_inflate_is_not_stepped_over(
    reader: Reader, replica: ReplicaTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = encode_batch([Record("x")], codec=CODEC_ZSTD)
    replica.batches[1] = StoredBatch(3, 1, 1, packed)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "zstandard", None)
        assert await reader.read(0) == "abc"
        with pytest.raises(InvalidRequest, match="zstandard"):
            await reader.read(3)
    assert await reader.read(0) == "abcxef"
