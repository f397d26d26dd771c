"""The in-memory tails against a stupid list."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st

from http_base.memory_budget import MemoryBudget
from raft_app.engine.cache import Tail, TailCache
from raft_app.storage.protocol import StoredBatch
from tests.doubles.memory import WatchedShare


class Data(bytearray):
    """Bytes that can be referred to weakly."""


def batch(base_offset: int, count: int = 1, size: int = 10) -> StoredBatch:
    return StoredBatch(base_offset, count, 0, bytes(size))


def test_read_starts_at_the_batch_that_contains_the_offset():
    tail = Tail()
    for base_offset in (0, 5, 10):
        tail.append(batch(base_offset, 5))
    assert [one.base_offset for one in tail.read(7, 15, 1_000) or ()] == [5, 10]


def test_offset_before_the_tail_is_not_here():
    tail = Tail()
    tail.append(batch(5))
    assert tail.read(4, 6, 1_000) is None


def test_nothing_above_the_high_watermark_is_returned():
    tail = Tail()
    for base_offset in range(3):
        tail.append(batch(base_offset))
    assert [one.base_offset for one in tail.read(0, 2, 1_000) or ()] == [0, 1]


def test_one_batch_is_returned_however_long_it_is():
    tail = Tail()
    tail.append(batch(0, size=100))
    tail.append(batch(1, size=100))
    assert tail.read(0, 2, 1) == [batch(0, size=100)]


def test_gap_starts_the_tail_anew():
    tail = Tail()
    tail.append(batch(0))
    tail.append(batch(7))
    assert tail.read(0, 8, 1_000) is None
    assert tail.read(7, 8, 1_000) == [batch(7)]


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    drops=st.integers(0, 39),
    offset=st.integers(0, 200),
    max_bytes=st.integers(1, 200),
)
def test_tail_reads_like_a_list(counts, drops, offset, max_bytes):
    tail = Tail()
    batches = []
    for count in counts:
        batches.append(batch(sum(one.record_count for one in batches), count))
        tail.append(batches[-1])
    for _ in range(min(drops, len(batches) - 1)):
        tail.drop_oldest()
        batches.pop(0)
    end = batches[-1].base_offset + batches[-1].record_count
    if offset >= end:
        return
    if offset < batches[0].base_offset:
        assert tail.read(offset, end, max_bytes) is None
        return
    wanted = [one for one in batches if one.base_offset + one.record_count > offset]
    whole = max(1, max_bytes // 10)
    assert tail.read(offset, end, max_bytes) == wanted[:whole]
    assert tail.size_bytes == 10 * len(batches)


def test_group_keeps_within_its_limit():
    cache = TailCache(replica_bytes=35, total_bytes=1_000, share=MemoryBudget().tails)
    for base_offset in range(10):
        cache.append(1, batch(base_offset))
    assert cache.size_bytes == 30
    assert cache.read(1, 6, 10, 1_000) is None
    assert len(cache.read(1, 7, 10, 1_000) or ()) == 3


def test_group_that_was_appended_to_longest_ago_gives_way():
    cache = TailCache(replica_bytes=100, total_bytes=40, share=MemoryBudget().tails)
    for base_offset in range(3):
        cache.append(1, batch(base_offset))
    for base_offset in range(3):
        cache.append(2, batch(base_offset))
    assert cache.size_bytes <= 40
    assert cache.read(1, 0, 3, 1_000) is None
    assert len(cache.read(2, 0, 3, 1_000) or ()) == 3


def test_forgotten_group_gives_its_bytes_back():
    cache = TailCache(replica_bytes=100, total_bytes=100, share=MemoryBudget().tails)
    cache.append(1, batch(0))
    cache.forget(1)
    cache.forget(2)
    assert cache.size_bytes == 0
    assert cache.read(1, 0, 1, 1_000) is None


def test_what_can_be_reached_never_exceeds_the_limit():
    cache, living, largest = (
        TailCache(replica_bytes=100, total_bytes=1_000, share=MemoryBudget().tails),
        [],
        0,
    )
    for base_offset in range(500):
        data = Data(10)
        living.append(weakref.ref(data))
        cache.append(1, StoredBatch(base_offset, 1, 0, data))
        del data
        living = [reference for reference in living if reference() is not None]
        largest = max(largest, 10 * len(living))
    assert largest == 100


def test_batches_below_the_log_start_are_given_back_at_once():
    cache, living = (
        TailCache(replica_bytes=1_000, total_bytes=1_000, share=MemoryBudget().tails),
        [],
    )
    for base_offset in range(0, 20, 5):
        data = Data(10)
        living.append(weakref.ref(data))
        cache.append(1, StoredBatch(base_offset, 5, 0, data))
        del data
    cache.cut(1, 12)
    assert [reference() is not None for reference in living] == [False, False, True, True]
    assert cache.size_bytes == 20
    assert cache.read(1, 9, 20, 1_000) is None
    assert len(cache.read(1, 12, 20, 1_000) or ()) == 2
    cache.cut(1, 20)
    cache.cut(2, 20)
    assert cache.size_bytes == 0
    assert all(reference() is None for reference in living)
    cache.append(1, batch(20))
    assert len(cache.read(1, 20, 21, 1_000) or ()) == 1


def test_the_budget_counts_the_tails_and_bounds_them() -> None:
    share = WatchedShare("tails", 50)
    cache = TailCache(replica_bytes=100, total_bytes=1_000, share=share)
    for offset in range(9):
        cache.append(1, batch(offset, size=10))
    assert (cache.size_bytes, share.used_bytes, share.peak_bytes) == (50, 50, 50)
    cache.cut(1, 6)
    assert share.used_bytes == cache.size_bytes == 30
    cache.forget(1)
    assert share.used_bytes == 0
