"""Batches kept decoded."""

from __future__ import annotations

from broker_app.decode_cache import DecodeCache, DecodedBatch
from http_base.memory_budget import MemoryBudget
from myqueue.contract.records import Record
from tests.doubles.memory import WatchedShare


def batch(base_offset: int, size_bytes: int = 10) -> DecodedBatch:
    return DecodedBatch(base_offset, [Record("a"), Record("b")], size_bytes)


def test_batch_is_found_by_any_of_its_offsets() -> None:
    kept = DecodeCache(batches_max=4, bytes_max=100, share=MemoryBudget().decoded)
    kept.keep(1, batch(4))
    assert kept.find(1, 4) is kept.find(1, 5) is not None
    assert kept.find(1, 3) is kept.find(1, 6) is kept.find(2, 4) is None


def test_least_recently_used_ones_make_room() -> None:
    kept = DecodeCache(batches_max=2, bytes_max=100, share=MemoryBudget().decoded)
    kept.keep(1, batch(0))
    kept.keep(1, batch(2))
    kept.keep(1, batch(0))
    kept.find(1, 0)
    kept.keep(1, batch(4))
    assert kept.find(1, 2) is None
    assert kept.find(1, 0) is not None
    kept.keep(1, batch(6, size_bytes=95))
    assert (kept.find(1, 0), kept.find(1, 4), kept.size_bytes) == (None, None, 95)
    kept.keep(1, batch(8, size_bytes=101))
    assert kept.find(1, 8) is None


def test_half_of_the_share_bounds_what_is_kept_and_all_of_it_is_given_back() -> None:
    share = WatchedShare("decoded", 60)
    kept = DecodeCache(batches_max=64, bytes_max=1 << 20, share=share)
    for number in range(9):
        kept.keep(1, batch(2 * number))
    assert (kept.size_bytes, share.used_bytes, share.peak_bytes) == (30, 30, 30)
    kept.clear()
    assert (kept.size_bytes, share.used_bytes, kept.find(1, 16)) == (0, 0, None)
