"""The checksums of many frames at once, against SQLite's documentation word by word."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.storage.wal.checksum import frame_checksums, header_checksum
from tests.raft_app.storage.wal_harness import plain_checksum

words32 = st.integers(0, (1 << 32) - 1)


@given(
    page_words=st.sampled_from([128, 256, 1024]),
    seeds=st.lists(st.tuples(words32, words32), min_size=1, max_size=5),
    content=st.sampled_from(["random", "zeros", "ones"]),
    big_endian=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_checksums_of_many_frames_are_those_of_each(
    page_words: int,
    seeds: list[tuple[int, int]],
    content: str,
    big_endian: bool,
    seed: int,
) -> None:
    size = 24 + 4 * page_words
    chance = random.Random(seed)
    fill = {"zeros": b"\0" * size, "ones": b"\xff" * size}
    frames = [fill.get(content) or chance.randbytes(size) for _ in seeds]
    expected = []
    for frame, start in zip(frames, seeds, strict=True):
        words = struct.unpack((">" if big_endian else "<") + f"{size // 4}I", frame)
        expected.append(plain_checksum(words[:2] + words[6:], start))
    assert frame_checksums(b"".join(frames), seeds, big_endian=big_endian) == expected


def test_no_frames_have_no_checksums() -> None:
    assert frame_checksums(b"", [], big_endian=False) == []


@given(st.lists(words32, max_size=12).filter(lambda words: len(words) % 2 == 0))
def test_checksum_of_a_header_is_that_of_its_words(words: list[int]) -> None:
    assert header_checksum(words) == plain_checksum(words)


def test_checksum_takes_pairs_of_words() -> None:
    with pytest.raises(ValueError, match="shorter"):
        header_checksum([1, 2, 3])
