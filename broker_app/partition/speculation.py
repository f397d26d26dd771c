"""The leader's speculative view: the effects of entries in its log that are not applied yet.

With the applied state it covers every entry before the next one. Each proposal that enters the log
is added, and released when it is applied; a change of leadership empties the view.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from myqueue.contract.records import BatchHeader

Position = tuple[int, int]
"""(index, term) of an entry."""


class AppendEffect(Struct, frozen=True):
    """What a proposed batch will change."""

    header: BatchHeader
    timestamp: int
    """Its append timestamp."""


class CommandEffect(Struct, frozen=True):
    """What a proposed command will change, as far as later requests must see it."""

    clock_ms: int
    timestamp: int
    """Its append timestamp."""
    consumer_id: int = 0
    """Whose cursor it moves; 0 for none."""
    offset: int = 0
    """Where that cursor will be."""
    request_digest: bytes = b""
    group: str = ""
    """Name of the consumer group that it may make; empty for none. It moves no cursor then."""
    maker_id: int = 0
    """The consumer that makes the group if it is new; 0 for the cluster."""


ProposalEffect = AppendEffect | CommandEffect


@dataclass(slots=True)
class OpenProducer:
    """A producer with batches in flight: its epoch and sequence after all of them."""

    epoch: int
    next_sequence: int
    batches: deque[tuple[int, int, int, Position]] = field(default_factory=deque)
    """(epoch, base sequence, record count, position) in the order of the log."""

    def find(self, base_sequence: int, record_count: int) -> Position | None:
        """Return where a batch of the current epoch is in the log, if it is in flight."""
        wanted = (self.epoch, base_sequence, record_count)
        for *batch, position in self.batches:
            if tuple(batch) == wanted:
                return position
        return None


@dataclass(slots=True)
class OpenGroup:
    """A consumer group with commands in flight that may make it."""

    maker_id: int
    """The consumer that the first of them is of; 0 for the cluster."""
    in_flight: int


@dataclass(slots=True)
class OpenCursorMoves:
    """A cursor with commands in flight: where it will be, and how many they are."""

    offset: int
    in_flight: int


class Speculation:
    """Effects of the entries above the applied index, by what later requests ask for."""

    def __init__(self) -> None:
        self.record_count = 0
        """Messages in flight: how far the next offset is ahead of the applied one."""
        self.timestamp = 0
        """Append timestamp of the last entry in flight; 0 for none."""
        self.clock_ms = 0
        """Partition clock of the last command in flight; 0 for none."""
        self.producers: dict[int, OpenProducer] = {}
        self.cursors: dict[int, OpenCursorMoves] = {}
        self.groups: dict[str, OpenGroup] = {}
        """By the name of a consumer group."""
        self.produce_requests: dict[tuple[int, bytes], Position] = {}
        self.pop_requests: dict[tuple[int, bytes], Position] = {}
        self._effects: deque[tuple[Position, ProposalEffect]] = deque()

    def __len__(self) -> int:
        return len(self._effects)

    def extend(self, effect: ProposalEffect, position: Position) -> None:
        """Add an entry that entered the log."""
        self._effects.append((position, effect))
        self.timestamp = effect.timestamp
        match effect:
            case AppendEffect(header=header):
                self.record_count += header.record_count
                if header.sequenced:
                    self._extend_producer(header, position)
                elif is_deduplicated(header):
                    self.produce_requests[header.producer_id, header.request_digest] = position
            case CommandEffect():
                self.clock_ms = effect.clock_ms
                if effect.consumer_id:
                    self._extend_cursor(effect, position)
                elif effect.group:
                    group = self.groups.setdefault(effect.group, OpenGroup(effect.maker_id, 0))
                    group.in_flight += 1

    def end_of(self, start: int, offset: int, *, max_messages: int, max_bytes: int) -> int:
        """Return where the batches in flight end that fit, or `offset`; see `PartitionState`.

        Args:
            start: offset of the first message in flight.
            offset: of the first that is wanted.
            max_messages: enough are counted.
            max_bytes: most bytes of the batches, decoded.
        """
        end, size_bytes = offset, 0
        for _, effect in self._effects:
            if isinstance(effect, AppendEffect):
                start += effect.header.record_count
                if start <= offset:
                    continue
                size_bytes += effect.header.decoded_bytes
                if size_bytes > max_bytes:
                    break
                end = start
                if end - offset >= max_messages:
                    break
        return end

    def release(self, position: Position) -> ProposalEffect | None:
        """Drop the entry at a position, which was applied; return its effect if it was in flight.

        An entry of another term at the same index means that the view is outdated: it is emptied.
        """
        if not self._effects:
            return None
        head, effect = self._effects[0]
        if head != position:
            if head[0] <= position[0]:
                self.clear()
            return None
        self._effects.popleft()
        if not self._effects:
            self.clear()
            return effect
        match effect:
            case AppendEffect(header=header):
                self._release_batch(header)
            case CommandEffect():
                if effect.consumer_id:
                    self._release_cursor(effect)
                elif effect.group:
                    self._release_group(effect.group)
        return effect

    def clear(self) -> None:
        """Forget everything in flight."""
        self.record_count = self.timestamp = self.clock_ms = 0
        for table in (self.producers, self.cursors, self.groups):
            table.clear()
        for requests in (self.produce_requests, self.pop_requests):
            requests.clear()
        self._effects.clear()

    def _extend_producer(self, header: BatchHeader, position: Position) -> None:
        sequence, count = header.base_sequence, header.record_count
        producer = self.producers.get(header.producer_id)
        if producer is None:
            producer = self.producers[header.producer_id] = OpenProducer(0, 0)
        producer.epoch = header.producer_epoch
        producer.next_sequence = sequence + count
        producer.batches.append((header.producer_epoch, sequence, count, position))

    def _release_batch(self, header: BatchHeader) -> None:
        self.record_count -= header.record_count
        if header.sequenced:
            self._release_producer(header.producer_id)
        elif is_deduplicated(header):
            del self.produce_requests[header.producer_id, header.request_digest]

    def _release_producer(self, producer_id: int) -> None:
        producer = self.producers[producer_id]
        producer.batches.popleft()
        if not producer.batches:
            del self.producers[producer_id]

    def _extend_cursor(self, effect: CommandEffect, position: Position) -> None:
        moves = self.cursors.get(effect.consumer_id)
        if moves is None:
            moves = self.cursors[effect.consumer_id] = OpenCursorMoves(0, 0)
        moves.offset = effect.offset
        moves.in_flight += 1
        if effect.request_digest:
            self.pop_requests[effect.consumer_id, effect.request_digest] = position

    def _release_cursor(self, effect: CommandEffect) -> None:
        moves = self.cursors[effect.consumer_id]
        moves.in_flight -= 1
        if not moves.in_flight:
            del self.cursors[effect.consumer_id]
        if effect.request_digest:
            del self.pop_requests[effect.consumer_id, effect.request_digest]

    def _release_group(self, name: str) -> None:
        group = self.groups[name]
        group.in_flight -= 1
        if not group.in_flight:
            del self.groups[name]


def is_deduplicated(header: BatchHeader) -> bool:
    """Tell whether retries of an unsequenced batch are recognised by its request digest."""
    return bool(header.request_digest) and header.producer_id > 0 and not header.sequenced
