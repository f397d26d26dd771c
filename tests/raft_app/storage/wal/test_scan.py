"""Torn or corrupt: the scan of a WAL, against what was written and against SQLite itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raft_app.storage.wal.scan import WAL_HEADER_BYTES, WalState
from tests.raft_app.storage.wal_harness import (
    WalMaker,
    flipped,
    frames_of_sqlite,
    scan,
    spans,
    with_big_endian_checksums,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raft_app.storage.wal_harness import MadeWal

FLIPS_PER_WAL = 1_500


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[WalMaker]:
    maker = WalMaker(tmp_path, page_bytes=512)
    yield maker
    maker.close()


@pytest.fixture
def made(maker: WalMaker) -> MadeWal:
    for sizes in ([100], [100, 1200], [40], [3000], [700]):
        maker.write(*sizes)
    return maker.made()


def frames(made: MadeWal, end: int) -> int:
    """How many whole frames of 512-byte pages lie before a position."""
    return max(0, end - WAL_HEADER_BYTES) // (24 + 512)


def judged(wal: bytes) -> tuple[WalState, int]:
    verdict = scan(wal)
    return verdict.state, verdict.frames


# --- sound --------------------------------------------------------------------------------------


def test_wal_of_no_bytes_is_empty() -> None:
    assert judged(b"") == (WalState.EMPTY, 0)
    assert scan(b"").salt is None


@pytest.mark.parametrize("page_bytes", [512, 1024, 4096, 65_536])
def test_wal_that_ends_with_a_commit_is_whole(tmp_path: Path, page_bytes: int) -> None:
    maker = WalMaker(tmp_path, page_bytes=page_bytes)
    maker.write(200_000, 10)
    maker.write(10)
    made = maker.made()
    maker.close()
    expected = (made.ends[-1] - WAL_HEADER_BYTES) // (24 + page_bytes)
    assert judged(made.wal) == (WalState.WHOLE, expected)
    assert frames_of_sqlite(tmp_path / "sqlite", made.database, made.wal) == expected


def test_checksums_of_a_big_endian_machine_are_understood(made: MadeWal) -> None:
    foreign = with_big_endian_checksums(made.wal)
    assert foreign != made.wal
    assert scan(foreign) == scan(made.wal)
    assert scan(flipped(foreign, made.ends[0] + 30)).state is WalState.CORRUPT


def test_frames_of_an_earlier_generation_are_no_damage(maker: WalMaker, made: MadeWal) -> None:
    maker.restart()
    maker.write(100)
    again = maker.made()
    assert len(again.wal) == len(made.wal) > again.ends[-1]
    assert judged(again.wal) == (WalState.WHOLE, frames(again, again.ends[-1]))
    old = random.Random(1).sample(range(again.ends[-1], len(again.wal)), 200)
    for position in old:
        assert scan(flipped(again.wal, position)).state is not WalState.CORRUPT


def test_header_of_a_new_generation_alone_makes_an_empty_wal(
    maker: WalMaker, made: MadeWal
) -> None:
    maker.restart()
    maker.write(100)
    begun = maker.made().wal[:WAL_HEADER_BYTES] + made.wal[WAL_HEADER_BYTES:]
    assert judged(begun) == (WalState.EMPTY, 0)
    assert frames_of_sqlite(maker.path.parent / "sqlite", made.database, begun) == 0


# --- torn ---------------------------------------------------------------------------------------


def test_wal_cut_at_every_byte_of_its_last_transaction_is_torn(made: MadeWal) -> None:
    *_, before, end = made.ends
    for length in range(before, end):
        state = WalState.WHOLE if length == before else WalState.TORN
        assert judged(made.wal[:length]) == (state, frames(made, before))


def test_wal_cut_at_every_byte_of_its_first_transaction_is_torn(tmp_path: Path) -> None:
    maker = WalMaker(tmp_path, page_bytes=512)
    made = maker.made()
    maker.close()
    for length in range(1, made.ends[0]):
        state = WalState.EMPTY if length == WAL_HEADER_BYTES else WalState.TORN
        assert judged(made.wal[:length]) == (state, 0)


def test_zeros_behind_a_wal_change_nothing(made: MadeWal) -> None:
    """A broker puts them there before it needs the room."""
    *_, before, end = made.ends
    whole = made.wal[:end]
    for zeros in (bytes(24 + 512), bytes(100_000)):
        assert judged(whole[:before] + zeros) == (WalState.WHOLE, frames(made, before))
        assert judged(whole + zeros) == (WalState.WHOLE, frames(made, end))
        for length in range(before + 24, end, 7):
            torn = whole[:length] + zeros
            if not torn.startswith(whole):
                assert judged(torn) == (WalState.TORN, frames(made, before)), length
        assert scan(flipped(whole, before - 1) + zeros).state is WalState.CORRUPT


def test_any_frames_of_the_last_transaction_may_be_missing(
    maker: WalMaker, made: MadeWal, tmp_path: Path
) -> None:
    """The disk writes sectors in any order: what is not there yet is old or zeros."""
    maker.restart()
    maker.write(100)
    maker.write(2_500, 100)
    now = maker.made()
    chance = random.Random(7)
    start, end = now.ends[-2:]
    for number in range(300):
        torn = bytearray(now.wal)
        for at in range(start, end, 512):
            if chance.random() < 0.5:
                stop = min(at + 512, end)
                torn[at:stop] = made.wal[at:stop] if number % 2 else bytes(stop - at)
        if torn == now.wal:
            continue
        verdict = scan(bytes(torn))
        assert verdict.frames == frames(now, start)
        assert verdict.state in (WalState.TORN, WalState.WHOLE)


def test_transaction_that_never_committed_is_torn(maker: WalMaker, made: MadeWal) -> None:
    maker.spill(*[5_000] * 40)
    unfinished = maker.made().wal
    assert len(unfinished) > len(made.wal)
    assert judged(unfinished) == (WalState.TORN, frames(made, made.ends[-1]))


def test_page_that_a_large_transaction_wrote_twice_is_no_sign_of_damage(
    maker: WalMaker, made: MadeWal
) -> None:
    maker.spill(*[5_000] * 40)
    maker._connection.execute("COMMIT")
    end = maker._used()
    large = maker.made().wal[:end]
    assert judged(large) == (WalState.WHOLE, frames(made, end))
    chance = random.Random(3)
    for position in chance.sample(range(made.ends[-1], end), 200):
        damaged = flipped(large, position, chance.randrange(8))
        assert scan(damaged).frames == frames(made, made.ends[-1])


def test_torn_first_header_is_torn(made: MadeWal) -> None:
    for length in range(1, WAL_HEADER_BYTES + 1):
        assert scan(made.wal[:length]).state in (WalState.TORN, WalState.EMPTY)
    assert scan(bytes(WAL_HEADER_BYTES)).state is WalState.TORN
    assert scan(bytes(100_000)).state is WalState.TORN
    assert scan(flipped(made.wal, 17)[:WAL_HEADER_BYTES]).state is WalState.TORN


# --- corrupt ------------------------------------------------------------------------------------


def test_any_flipped_bit_before_the_last_transaction_is_corruption(made: MadeWal) -> None:
    chance = random.Random(11)
    *_, before, _ = made.ends
    headers = [at + byte for at in range(WAL_HEADER_BYTES, before, 24 + 512) for byte in range(24)]
    positions = [*range(WAL_HEADER_BYTES), *headers]
    positions += chance.choices(range(before), k=FLIPS_PER_WAL)
    for position in positions:
        bit = chance.randrange(8)
        verdict = scan(flipped(made.wal, position, bit))
        assert verdict.state is WalState.CORRUPT, (position, bit)
        assert "\n" not in verdict.reason
        assert "WAL" in verdict.reason


def test_every_bit_of_frame_headers_counts(made: MadeWal) -> None:
    *_, before, _ = made.ends
    for at in range(WAL_HEADER_BYTES, before, 24 + 512):
        for bit in range(24 * 8):
            damaged = flipped(made.wal, at + bit // 8, bit % 8)
            assert scan(damaged).state is WalState.CORRUPT, (at, bit)


def test_flipped_bit_in_the_last_transaction_looks_torn(made: MadeWal) -> None:
    *_, before, end = made.ends
    for position in random.Random(5).sample(range(before, end), 300):
        verdict = scan(flipped(made.wal, position))
        assert verdict.frames == frames(made, before)
        assert verdict.state in (WalState.TORN, WalState.WHOLE, WalState.CORRUPT)


def test_lost_block_before_the_last_transactions_is_corruption(made: MadeWal) -> None:
    for span in spans(made.ends)[:-2]:
        for at in range(span.start, span.stop, 512):
            damaged = made.wal[:at] + bytes(512) + made.wal[at + 512 :]
            assert scan(damaged).state is WalState.CORRUPT, at


def test_damage_before_a_torn_end_is_corruption(made: MadeWal) -> None:
    *_, before, end = made.ends
    for length in (before + 24, before + 24 + 512, end):
        damaged = flipped(made.wal[:length], made.ends[0] + 40)
        assert scan(damaged).state is WalState.CORRUPT


def test_damaged_header_with_frames_behind_it_is_corruption(made: MadeWal) -> None:
    for position in range(WAL_HEADER_BYTES):
        verdict = scan(flipped(made.wal, position, position % 8))
        assert verdict.state is WalState.CORRUPT
        assert "header" in verdict.reason
    assert scan(bytes(32) + made.wal[32:]).state is WalState.CORRUPT


# --- clever against stupid ----------------------------------------------------------------------

sizes = st.lists(st.sampled_from([8, 100, 600, 3_000]), min_size=1, max_size=3)
histories = st.lists(st.one_of(sizes, st.just("restart")), min_size=1, max_size=6)


@settings(max_examples=40)
@given(
    history=histories,
    page_bytes=st.sampled_from([512, 1024, 4096]),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=3),
)
@example(history=["restart", [8], [600], "restart"], page_bytes=512, cut=0.5, flips=[])
def test_scan_counts_the_frames_that_sqlite_recovers(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[int] | str],
    page_bytes: int,
    cut: float | None,
    flips: list[tuple[float, int]],
) -> None:
    directory = tmp_path_factory.mktemp("wal")
    maker = WalMaker(directory, page_bytes=page_bytes)
    for step in history:
        if isinstance(step, str):
            maker.restart()
        else:
            maker.write(*step)
    made = maker.made()
    maker.close()
    wal = made.wal if cut is None else made.wal[: int(len(made.wal) * cut)]
    for place, bit in flips if wal else []:
        wal = flipped(wal, int(len(wal) * place), bit)
    verdict = scan(wal)
    assert verdict.frames == frames_of_sqlite(directory / "sqlite", made.database, wal)
    if not flips and cut is None:
        assert verdict.state in (WalState.WHOLE, WalState.EMPTY)
    if not flips:
        assert verdict.state is not WalState.CORRUPT
