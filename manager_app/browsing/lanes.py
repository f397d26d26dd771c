"""Messages of several partitions in the order of their times, forwards or backwards.

A lane is one partition that is being read. Forwards it is read batch by batch; backwards in
windows, the last one first, each from its begin to its end. What was read and passes the filter
waits in the lane until no other lane can have an earlier (backwards: a later) message.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.errors import CorruptBatch, InvalidRequest
from myqueue.contract.records import (
    decode_rows,
    read_header,
    to_records,
    unframe_batches,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from myqueue.contract.records import Record


class OffsetRange(NamedTuple):
    """What a partition has, as last told."""

    begin: int
    """The log start offset."""
    end: int
    """The high watermark."""
    size_bytes: int = 0
    """Of its batches; 0 when that is not known."""


class FoundMessage(NamedTuple):
    """A message and where it is."""

    partition: int
    offset: int
    record: Record


class Gap(NamedTuple):
    """Messages that nobody can read, or not here."""

    partition: int
    begin: int
    end: int
    """Exclusive."""
    why: str


@dataclass(slots=True)
class Scanned:
    """What was looked at so far."""

    messages: int = 0
    size_bytes: int = 0
    """In memory, decoded."""


class Decoded(NamedTuple):
    """What batches have from an offset on."""

    passed: list[tuple[int, Record]]
    """Messages that pass, by offset."""
    gaps: list[tuple[int, int, str]]
    """Begin, end and reason of what cannot be read."""
    first: int
    """Where the first batch begins, at or below the offset."""
    reached: int
    """Everything below was looked at."""


def decode_batches(
    body: bytes | memoryview,
    *,
    begin: int,
    end: int,
    passes: Callable[[Record], bool],
    scanned: Scanned,
    room_bytes: int,
) -> Decoded:
    """Return the messages of framed batches that pass, one batch at a time in memory.

    Args:
        body: the answer of a fetch in stored batches.
        begin: the first of them may begin below, and is looked at as a whole.
        end: what the batches reach, as the fetch says.
        passes: which messages are kept.
        scanned: counts what was looked at.
        room_bytes: how much is decoded; of at least one batch, however large.
    """
    passed: list[tuple[int, Record]] = []
    gaps: list[tuple[int, int, str]] = []
    first, reached, used = begin, begin, 0
    frames = [*unframe_batches(bytes(body))]
    bases = [base for base, _ in frames]
    for (base, batch), following in zip(frames, [*bases[1:], end], strict=False):
        first = min(first, base)
        try:
            header = read_header(batch)
            if used and used + header.decoded_bytes > room_bytes:
                break
            used += header.decoded_bytes
            records = to_records(decode_rows(batch, header), header)
        except (CorruptBatch, InvalidRequest) as error:
            gaps.append((base, max(following, base + 1), error.message))
        else:
            scanned.messages += len(records)
            passed += [(at, one) for at, one in enumerate(records, base) if passes(one)]
        reached = max(reached, following)
    scanned.size_bytes += used
    return Decoded(passed, gaps, first, reached)


@dataclass(slots=True)
class Lane:
    """One partition that is being read from a position towards one of its ends."""

    partition: int
    range: OffsetRange
    position: int
    """Forwards the next offset to read; backwards the offset behind it."""
    backwards: bool = False
    found: deque[tuple[int, Record]] = field(default_factory=deque)
    """What passes and was not given out, in the order in which it will be."""
    gaps: list[Gap] = field(default_factory=list)
    why_silent: str = ""
    """Why it cannot be read now; empty when it can."""
    _window: list[tuple[int, Record]] = field(default_factory=list)
    _window_begin: int = -1
    _window_read: int = -1
    """-1 outside of a window."""

    def __post_init__(self) -> None:
        """Begin inside of what the partition has."""
        self.position = min(max(self.position, self.range.begin), self.range.end)

    @property
    def is_done(self) -> bool:
        """True when there is nothing more to read in its direction."""
        return self.position <= self.range.begin if self.backwards else self._left <= 0

    @property
    def _left(self) -> int:
        return self.range.end - self.position

    @property
    def is_starved(self) -> bool:
        """True when it must be read before it is known which message is next."""
        return not (self.found or self.is_done or self.why_silent)

    @property
    def is_inside_window(self) -> bool:
        """True when part of a window was read, backwards."""
        return self._window_read >= 0

    @property
    def resume_at(self) -> int:
        """Where another look goes on: everything before was given out, or does not pass."""
        if not self.found:
            return self.position
        return self.found[0][0] + (1 if self.backwards else 0)

    @property
    def average_bytes(self) -> int:
        """Size of its messages, about."""
        return max(1, self.range.size_bytes // max(1, self.range.end - self.range.begin))

    def next_offset(self, window: int) -> int:
        """Return from where to fetch.

        Args:
            window: how many messages to look at together, backwards.
        """
        if not self.backwards:
            return self.position
        if self._window_read < 0:
            self._window_begin = max(self.range.begin, self.position - max(1, window))
            self._window_read = self._window_begin
        return self._window_read

    def take(self, decoded: Decoded) -> None:
        """Take what was fetched from `next_offset` on."""
        lowest = self.range.begin if self.backwards else self.position
        if self.backwards and self._window_read == self._window_begin:
            # The batch that the window begins in was looked at as a whole, and need not be again.
            self._window_begin = max(self.range.begin, min(self._window_begin, decoded.first))
        lowest = max(lowest, self._window_begin)
        highest = self.position if self.backwards else max(self.range.end, decoded.reached)
        kept = [one for one in decoded.passed if lowest <= one[0] < highest]
        for begin, end, why in decoded.gaps:
            if begin < highest and end > lowest:
                self.gaps.append(Gap(self.partition, max(begin, lowest), min(end, highest), why))
        if not self.backwards:
            self.position = max(self.position, decoded.reached)
            self.found.extend(kept)
            return
        self._window += kept
        self._window_read = max(self._window_read + 1, decoded.reached)
        if self._window_read >= self.position:
            self.found.extend(reversed(self._window))
            self.position = self._window_begin
            self._window, self._window_begin, self._window_read = [], -1, -1

    def silence(self, why: str) -> None:
        """Read it no further in this look."""
        self.why_silent = why
        self._window, self._window_begin, self._window_read = [], -1, -1


def next_of(lanes: Iterable[Lane], *, backwards: bool) -> FoundMessage | None:
    """Take the message that comes next in time out of its lane; None: there is none."""
    full = [lane for lane in lanes if lane.found]
    if not full:
        return None

    def time_of(lane: Lane) -> tuple[int, int]:
        sign = -1 if backwards else 1
        return sign * lane.found[0][1].timestamp, lane.partition

    lane = min(full, key=time_of)
    offset, record = lane.found.popleft()
    return FoundMessage(lane.partition, offset, record)
