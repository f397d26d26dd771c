"""Tells a torn WAL from a corrupt one, before SQLite opens it; pure but for reading the file.

SQLite takes a WAL's frames up to the last commit before the first bad checksum and forgets the
rest without a word. That is right for a transaction that was being written when the power went,
and wrong for one that was acknowledged. The two can be told apart because of how a broker writes:

- each commit is synced before the next transaction begins, so at most ONE transaction can be
  incomplete, and nothing of the WAL's present generation (its salt) lies behind it;
- after anything but a commit the process writes no more, and each start ends by emptying the
  WAL, so no remains of an older failure have the present salt either;
- SQLite syncs the WAL's header before it writes the first frame behind it;
- SQLite writes a page once per transaction (again only as the commit frame of one that outgrew
  its cache), so frames that repeat a page are of two transactions.

What the WAL alone cannot tell: damage within the very last transaction, or a file cut before it,
looks like a torn write. `wal.receipt` notices that while the machine runs; after a power
cut the leader does, by the index that the replica had acknowledged.

Source: SQLite's documentation, "Database File Format", section 4, "The Write-Ahead Log".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from raft_app.storage.wal.checksum import (
    FRAME_HEADER_BYTES,
    Checksum,
    frame_checksums,
    header_checksum,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

WAL_HEADER_BYTES = 32
MAGIC = 0x377F0682
"""With little-endian checksums; one more with big-endian ones."""
VERSION = 3_007_000
PAGE_BYTES_MIN = 512
PAGE_BYTES_MAX = 65_536
SPILLED_FRAMES_MIN = 128
"""A transaction of fewer frames never outgrew SQLite's cache (2 MB) and repeats no page at all."""
_PART_BYTES = 4 << 20
"""Read and checked at once."""
_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")


class WalState(StrEnum):
    """What a WAL turned out to be."""

    EMPTY = "empty"
    """No frames of the present generation, and none were lost."""
    WHOLE = "whole"
    """It ends with a commit."""
    TORN = "torn"
    """It ends with a transaction that was never acknowledged; SQLite drops it."""
    CORRUPT = "corrupt"
    """Something that was acknowledged cannot be read."""


Salt = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WalVerdict:
    """What a scan found."""

    state: WalState
    salt: Salt | None = None
    """The present generation; `None` without a header."""
    frames: int = 0
    """Up to the last commit before any doubt: what SQLite would recover."""
    reason: str = ""
    """One line; empty unless corrupt."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The parts of a WAL header that frames are measured by."""

    page_bytes: int
    salt: Salt
    checksum: Checksum
    big_endian: bool

    @property
    def frame_bytes(self) -> int:
        return FRAME_HEADER_BYTES + self.page_bytes


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame's header."""

    page: int
    commit: int
    """Pages of the database after the commit; 0 unless the frame ends a transaction."""
    salt: Salt
    checksum: Checksum


def scan_wal(file: BinaryIO) -> WalVerdict:
    """Read a WAL from its beginning and say whether acknowledged transactions are damaged.

    Args:
        file: the WAL, at position 0; read in parts of a few MiB.
    """
    raw = file.read(WAL_HEADER_BYTES)
    if not raw:
        return WalVerdict(WalState.EMPTY)
    header = _header_of(raw)
    if header is None:
        return _without_header(file)
    scan = _Scan(header)
    count = max(1, _PART_BYTES // header.frame_bytes)
    while part := file.read(count * header.frame_bytes):
        whole = len(part) - len(part) % header.frame_bytes
        scan.take(memoryview(part)[:whole])
        scan.cut = whole < len(part)
    return scan.verdict()


def _header_of(raw: bytes) -> _Header | None:
    """Return what a WAL's header says; `None` when SQLite would not believe it."""
    if len(raw) < WAL_HEADER_BYTES:
        return None
    magic, version, page_bytes, _, *salt, first, second = _WAL_HEADER.unpack(raw)
    big_endian = bool(magic & 1)
    words = struct.unpack((">" if big_endian else "<") + "6I", raw[:24])
    if (
        magic & ~1 != MAGIC
        or version != VERSION
        or page_bytes & (page_bytes - 1)
        or not PAGE_BYTES_MIN <= page_bytes <= PAGE_BYTES_MAX
        or header_checksum(words) != (first, second)
    ):
        return None
    return _Header(page_bytes, (salt[0], salt[1]), (first, second), big_endian)


def _without_header(file: BinaryIO) -> WalVerdict:
    """Judge what lies behind a header that cannot be right: it was synced before the frames."""
    while part := file.read(_PART_BYTES):
        if part.strip(b"\0"):
            return WalVerdict(
                WalState.CORRUPT, reason="the header of the WAL is damaged, and frames follow it"
            )
    return WalVerdict(WalState.TORN)


@dataclass(slots=True)
class _Scan:
    """Where a scan is: in the sound frames, or behind the first bad one."""

    header: _Header
    cut: bool = False
    """Whether the file ends within a frame."""
    seen: int = 0
    """Frames read."""
    committed: int = 0
    """Frames up to the last commit before the first bad frame."""
    chain: Checksum = (0, 0)
    first_bad: int = -1
    """Number of the first bad frame, from 0; -1 while there is none."""
    ended: int = -1
    """Number of the commit frame that ends the transaction with the bad frame; -1: none yet."""
    pages: set[int] = field(default_factory=set)
    """Written since the last commit."""
    remains: bool = False
    """Whether anything of the present generation lies behind the last commit."""
    reason: str = ""

    def __post_init__(self) -> None:
        self.chain = self.header.checksum

    def take(self, part: memoryview) -> None:
        """Go over whole frames."""
        frames = list(self._frames(part))
        sound = self._sound(part, frames) if self.first_bad < 0 else 0
        for number, frame in enumerate(frames):
            if number < sound:
                self._take_sound(frame)
            else:
                self._take_behind(frame)
            self.seen += 1
        if sound > 0:
            self.chain = frames[sound - 1].checksum

    def verdict(self) -> WalVerdict:
        """Return what all the frames add up to."""
        salt = self.header.salt
        if self.reason:
            return WalVerdict(WalState.CORRUPT, salt, self.committed, self.reason)
        if self.remains or (self.cut and self.first_bad < 0):
            return WalVerdict(WalState.TORN, salt, self.committed)
        state = WalState.WHOLE if self.committed else WalState.EMPTY
        return WalVerdict(state, salt, self.committed)

    def _frames(self, part: memoryview) -> Iterator[_Frame]:
        for at in range(0, len(part), self.header.frame_bytes):
            page, commit, *numbers = _FRAME_HEADER.unpack_from(part, at)
            yield _Frame(page, commit, (numbers[0], numbers[1]), (numbers[2], numbers[3]))

    def _sound(self, part: memoryview, frames: list[_Frame]) -> int:
        """Return how many of the frames follow on what came before them."""
        likely = 0
        for frame in frames:
            if frame.salt != self.header.salt or frame.page == 0:
                break
            likely += 1
        stored = [frame.checksum for frame in frames[:likely]]
        computed = frame_checksums(
            part[: likely * self.header.frame_bytes],
            [self.chain, *stored][:likely],
            big_endian=self.header.big_endian,
        )
        for number, (found, expected) in enumerate(zip(stored, computed, strict=True)):
            if found != expected:
                return number
        return likely

    def _take_sound(self, frame: _Frame) -> None:
        if frame.commit:
            self.committed = self.seen + 1
            self.pages = set()
            self.remains = False
        else:
            self.remains = True
            self.pages.add(frame.page)

    def _take_behind(self, frame: _Frame) -> None:
        """Take a frame that SQLite does not read."""
        if self.first_bad < 0:
            self.first_bad = self.seen
        # Salts of two generations share no half: one half that differs is damage.
        if not any(own == found for own, found in zip(self.header.salt, frame.salt, strict=True)):
            return
        self.remains = True
        if self.ended >= 0:
            self._corrupt(f"frame {self.seen} lies behind the commit in frame {self.ended}")
        elif frame.page in self.pages and not (frame.commit and self._may_have_spilled()):
            self._corrupt(f"frame {self.seen} is of another transaction")
        elif frame.commit:
            self.ended = self.seen
        self.pages.add(frame.page)

    def _may_have_spilled(self) -> bool:
        return self.seen - self.committed >= SPILLED_FRAMES_MIN

    def _corrupt(self, sign: str) -> None:
        self.reason = self.reason or (
            f"the WAL is corrupt: frame {self.first_bad} is damaged, though it was acknowledged:"
            f" {sign}"
        )
