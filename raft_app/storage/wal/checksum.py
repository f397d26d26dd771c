"""The checksums of many WAL frames at once.

SQLite's checksum of 32-bit words x is, modulo 2**32, `s0 += x[i] + s1; s1 += x[i + 1] + s0`, over
pairs of words; each frame's begins with what the frame before it ended with and stands in its
header. Given those stored values the frames do not depend on each other. So one long integer
holds a 64-bit lane for each frame, and one addition adds a word to all of them: several times
faster than a loop over the words of each.

Source: SQLite's documentation, "Database File Format", section 4.2.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FRAME_HEADER_BYTES = 24
Checksum = tuple[int, int]

_WORD_BYTES = 4
_LANE_BYTES = 8
_CHECKED_HEADER_WORDS = 2
_HEADER_WORDS = FRAME_HEADER_BYTES // _WORD_BYTES
_PAIRS_PER_MASK = 16
"""A pair adds 1.39 bits to a lane (the golden ratio, squared); 31 bits are free above a word."""


def frame_checksums(
    frames: bytes | memoryview, seeds: Sequence[Checksum], *, big_endian: bool
) -> list[Checksum]:
    """Return the checksum of each frame, from what the frame before it is said to have.

    Args:
        frames: whole frames of one size, one behind the other.
        seeds: for each frame, the checksum with which it begins.
        big_endian: whether the words are big-endian; in the result, they are numbers.
    """
    if not seeds:
        return []
    words = array("I")
    words.frombytes(frames)
    assert words.itemsize == _WORD_BYTES
    if big_endian:
        words.byteswap()  # The array is a box of bytes: words in it are little-endian from here on.
    count = len(seeds)
    frame_words = len(words) // count
    assert frame_words * count == len(words)
    mask = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * count, "little")
    box = array("I", bytes(_LANE_BYTES * count))

    def lanes(position: int) -> int:
        box[::2] = words[position::frame_words]
        return int.from_bytes(memoryview(box).cast("B"), "little")

    first, second = (_lanes_of(seed[part] for seed in seeds) for part in (0, 1))
    positions = chain(range(_CHECKED_HEADER_WORDS), range(_HEADER_WORDS, frame_words))
    for number, (even, odd) in enumerate(zip(positions, positions, strict=True), start=1):
        first += lanes(even) + second
        second += lanes(odd) + first
        if number % _PAIRS_PER_MASK == 0:
            first &= mask
            second &= mask
    return list(zip(_numbers(first & mask, count), _numbers(second & mask, count), strict=True))


def header_checksum(words: Iterable[int]) -> Checksum:
    """Return the checksum of an even count of words, from zero on: that of the WAL's header."""
    first = second = 0
    words = iter(words)
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _lanes_of(numbers: Iterable[int]) -> int:
    return int.from_bytes(b"".join(n.to_bytes(_LANE_BYTES, "little") for n in numbers), "little")


def _numbers(lanes: int, count: int) -> Iterable[int]:
    raw = lanes.to_bytes(_LANE_BYTES * count, "little")
    return (
        int.from_bytes(raw[at : at + _WORD_BYTES], "little")
        for at in range(0, len(raw), _LANE_BYTES)
    )
