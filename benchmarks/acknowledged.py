"""What a run was promised to be stored, and whether it is."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Value = str | bytes


class CheckFailed(Exception):
    """The cluster broke a promise; the message says which."""


class Acknowledged:
    """The acknowledgements of one run in one partition that nobody else writes to."""

    def __init__(self) -> None:
        self._batches: list[tuple[int, Sequence[Value]]] = []
        self._lanes: dict[int, list[Value]] = {}
        self._unknown: list[Value] = []

    def add(self, base_offset: int | None, values: Sequence[Value], *, lane: int = 0) -> None:
        """Remember that values are stored in this order.

        Args:
            base_offset: of the first one; None from a system that does not tell offsets.
            values: no value is in two lanes.
            lane: whoever sent them; without offsets, what a lane sent is stored in its order.
        """
        if base_offset is None:
            self._lanes.setdefault(lane, []).extend(values)
        else:
            self._batches.append((base_offset, values))

    def add_unknown(self, value: Value) -> None:
        """Remember a value that may be stored or not."""
        self._unknown.append(value)

    def compare(self, stored: Iterable[tuple[int, Value]]) -> int:
        """Compare with everything that the partition holds, in its order.

        Args:
            stored: (offset, value) from offset 0 on.

        Returns:
            How many acknowledged messages were found.

        Raises:
            CheckFailed: something was lost, doubled, changed, invented or out of order.
        """
        expected = self._by_offset()
        lanes = [[_as_bytes(value) for value in values] for values in self._lanes.values()]
        ahead = {values[0]: iter(values[1:]) for values in lanes if values}
        unknown = [_as_bytes(value) for value in self._unknown]
        found = 0
        for position, (offset, value) in enumerate(stored):
            content = _as_bytes(value)
            if offset != position:
                raise CheckFailed(f"offset {offset} follows {position - 1}")
            if offset in expected:
                if expected[offset] != content:
                    raise CheckFailed(f"offset {offset} holds {value!r}, not {expected[offset]!r}")
                found += 1
            elif content in ahead:
                lane = ahead.pop(content)
                ahead.update((following, lane) for following in islice(lane, 1))
                found += 1
            elif content in unknown:
                unknown.remove(content)
            else:
                raise CheckFailed(f"offset {offset} was never acknowledged: {value!r}")
        promised = len(expected) + sum(map(len, lanes))
        if found != promised:
            raise CheckFailed(f"{promised - found} acknowledged messages are lost")
        return found

    def _by_offset(self) -> dict[int, bytes]:
        expected: dict[int, bytes] = {}
        for base_offset, values in self._batches:
            for offset, value in enumerate(values, base_offset):
                if offset in expected:
                    raise CheckFailed(f"offset {offset} was acknowledged twice")
                expected[offset] = _as_bytes(value)
        return expected


def compare_in_order(expected: Sequence[Value], read: Sequence[Value]) -> int:
    """Compare what a consumer read with what it had to read, and return the number of messages.

    Raises:
        CheckFailed: they differ.
    """
    if len(read) > len(expected):
        raise CheckFailed(f"{len(read)} messages were read, {len(expected)} are stored")
    for position, value in enumerate(read):
        if _as_bytes(value) != _as_bytes(expected[position]):
            raise CheckFailed(f"message {position} is {value!r}, not {expected[position]!r}")
    return len(read)


def _as_bytes(value: Value) -> bytes:
    return value.encode() if isinstance(value, str) else value
