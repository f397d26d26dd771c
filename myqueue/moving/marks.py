"""Where a copied message came from, said by the message itself, and what follows from that.

Each message that `import` or `mirror` writes has the header `copied-from`. A batch is stored whole
or not at all, so the target itself always says how far a copy came: nothing else has to be kept,
and nothing can contradict it. A copy sends the messages of a partition in order and one batch at a
time; when it is cut off and begun again it may send the last batch once more, but leaves none out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.records import MAX_HEADERS, MAX_RECORDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myqueue.moving.place import Place
    from myqueue.results import Message

COPIED_FROM = "copied-from"
"""Header of a copied message: name of the copy, topic, partition and offset, between slashes."""
LOOK_BACK = MAX_RECORDS
"""Messages before a place that are searched for an earlier copy: as many as a batch has."""

Headers = dict[str, str | bytes]


class Mark(NamedTuple):
    """A copied message."""

    offset: int
    """Where it is in the target."""
    source_offset: int


class Marks:
    """The marks of one copy in one partition of the target.

    Args:
        name: of the copy: 1 to 249 of A-Z a-z 0-9 . _ -
        topic: at the source.
        partition: at both.
    """

    def __init__(self, name: str, topic: str, partition: int) -> None:
        self.prefix = f"{name}/{topic}/{partition}/"

    def headers(self, headers: Mapping[str, str | bytes] | None, offset: int) -> Headers | None:
        """Return the headers of a copy of the message at an offset of the source.

        One that has as many as a message may have gets no mark: its neighbours have one.
        """
        if headers is not None and len(headers) >= MAX_HEADERS and COPIED_FROM not in headers:
            return dict(headers)
        return {**(headers or {}), COPIED_FROM: f"{self.prefix}{offset}"}

    def source_of(self, message: Message) -> int:
        """Return the offset that a message has at the source; -1 when this copy did not write it.

        Anybody may have written the header: what is no number means that, too.
        """
        said = (message.headers or {}).get(COPIED_FROM)
        if not isinstance(said, str) or not said.startswith(self.prefix):
            return -1
        number = said[len(self.prefix) :]
        return int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else -1

    def found(self, messages: Sequence[Message]) -> list[Mark]:
        """Return the marks among some messages, in their order."""
        pairs = ((one.offset, self.source_of(one)) for one in messages)
        return [Mark(offset, source) for offset, source in pairs if source >= 0]


class Copied:
    """What of a partition a copy has brought to the target.

    Args:
        place: the target.
        where: topic and partition there.
        marks: of the copy.
    """

    def __init__(self, place: Place, where: tuple[str, int], marks: Marks) -> None:
        self._place = place
        self._where = where
        self._marks = marks

    def last(self) -> Mark | None:
        """Return the copied message that is furthest in the source; None when there is none.

        It looks back from the end, in steps that double: as far as foreign messages reach.

        Raises:
            QueueError: the partition did not answer in time.
        """
        first, end = self._place.range_of(*self._where)
        size = LOOK_BACK
        while end > first:
            start = max(first, end - size)
            found = self._within(start, end)
            if found:
                return max(found, key=lambda mark: mark.source_offset)
            end, size = start, size * 2
        return None

    def place_of(self, source_offset: int) -> int:
        """Return an offset of the target from where on all is found that is not before another.

        That is: whoever has read all below `source_offset` at the source and goes on in the target
        at the answer misses nothing that was copied; where a batch was repeated, some may come
        twice. The end of the target when no later message was copied yet.

        Raises:
            QueueError: the partition did not answer in time.
        """
        low, high = self._place.range_of(*self._where)
        while low < high:
            middle = (low + high) // 2
            found = self._next_marks(middle, high)
            if not found or found[0].source_offset >= source_offset:
                high = middle
            elif found[-1].source_offset < source_offset:
                low = found[-1].offset + 1
            else:
                low = high = next(m.offset for m in found if m.source_offset >= source_offset)
        return self._earliest(source_offset, low)

    def _earliest(self, source_offset: int, place: int) -> int:
        """Return where the first copy is: a repeated batch lies behind it."""
        first, _ = self._place.range_of(*self._where)
        while place > first:
            found = self._within(max(first, place - LOOK_BACK), place)
            earlier = [one.offset for one in found if one.source_offset >= source_offset]
            if not earlier:
                return place
            place = min(earlier)
        return place

    def _next_marks(self, start: int, end: int) -> list[Mark]:
        """Return the marks of the first batch at or behind an offset that has any."""
        for messages, _ in self._place.between(*self._where, start, end, max_bytes=1):
            found = self._marks.found(messages)
            if found:
                return found
        return []

    def _within(self, start: int, end: int) -> list[Mark]:
        return [
            mark
            for messages, _ in self._place.between(*self._where, start, end)
            for mark in self._marks.found(messages)
        ]
