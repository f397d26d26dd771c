"""Queue workers of one group in one partition: which messages are out, redelivered, or dead.

Every message is in exactly one state: not delivered yet (at or above `next_offset`), out with a
worker until its visibility timeout on the partition clock (`unsettled`), dead and not copied to the
dead-letter topic yet (`dead`), or settled, which is all the rest and takes no memory. Transitions
depend on the entries of the log alone; `choose` is what a leader would deliver next.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from myqueue.contract.group_inputs import DEFAULT_DELIVERY_LIMIT
from myqueue.contract.rules.redelivery_times import RedeliveryTimes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from myqueue.contract.answers import SettleReason

UNSETTLED_MAX = 10_000
"""Messages of one group that are out or dead at a time; beyond it only redeliveries are made. It
bounds the memory of a group that receives and never acknowledges."""


class SettleKind(StrEnum):
    """What a worker does with a message that it received."""

    ACK = "ack"
    """Acknowledged: never delivered again."""
    NACK = "nack"
    """Given back: delivered again after a delay, or dead when it was delivered often enough."""
    EXTEND = "extend"
    """Still worked on: its visibility timeout is extended."""


class Receipt(NamedTuple):
    """One delivery of one message."""

    origin: int
    """Number of the `Work` that delivered it."""
    offset: int
    attempt: int
    """Number of the delivery, from 1."""


class Attempt(NamedTuple):
    """A message that is out: its last delivery."""

    number: int
    visible_at_ms: int
    """When it is delivered again, on the partition clock."""


class Choice(NamedTuple):
    """The messages that a leader would deliver next."""

    again: tuple[int, ...]
    """Offsets of redeliveries: their visibility timeout is over."""
    new_from: int
    new_to: int
    """Exclusive; the messages between were never delivered."""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to deliver."""
        return not self.again and self.new_to <= self.new_from


class Outcome(NamedTuple):
    """The answer for one receipt."""

    done: bool
    reason: SettleReason | Literal[""] = ""
    """`superseded`, `settled`, `unknown` or `dead`; empty when the request took effect."""


DONE = Outcome(done=True)
UNKNOWN = Outcome(done=False, reason="unknown")
SUPERSEDED = Outcome(done=False, reason="superseded")


class WorkCounts(NamedTuple):
    """How many messages of a group are in each state, in one partition."""

    visible: int
    """A worker would get them now: never delivered, or due for redelivery."""
    in_flight: int
    """Out with a worker."""
    delayed: int
    """Given back, and not due yet."""
    dead: int
    """Delivered as often as allowed, and not in the dead-letter topic yet."""


WorkRow = tuple[int, int, int, str, int, list[tuple[int, int, int]], list[tuple[int, int]]]
"""(origin, next offset, delivery limit, dead-letter topic, missed, unsettled, dead)."""


class Work:
    """The state of all messages of a group in a partition."""

    def __init__(self, origin: int, next_offset: int) -> None:
        """Begin with all messages from an offset on undelivered.

        Args:
            origin: tells this work from an earlier one of the same name, whose receipts are void.
            next_offset: the first message to deliver.
        """
        self.origin = origin
        self.next_offset = next_offset
        """The first message that was never delivered."""
        self.delivery_limit = DEFAULT_DELIVERY_LIMIT
        """Deliveries after which a message is dead unless the last one is acknowledged."""
        self.dead_letter_topic = ""
        """Where dead messages go; empty for the usual name."""
        self.unsettled: dict[int, Attempt] = {}
        self.dead: dict[int, int] = {}
        """Offset -> number of its last delivery."""
        self.missed = 0
        """Messages that retention deleted before they were settled, since `tell_missed`."""
        self._given_back: set[int] = set()
        """Offsets that wait out the delay of a nack, to tell people of them. It is not in
        snapshots: one that was given back before counts as in flight until it comes again."""
        self._coming_back = RedeliveryTimes()
        self._last_chances = RedeliveryTimes()
        """Of the messages that are dead when this delivery times out."""

    @property
    def offset(self) -> int:
        """The committed offset: every message below it is settled."""
        return min(chain((self.next_offset,), self.unsettled, self.dead))

    @property
    def settled_above(self) -> int:
        """Settled messages at or above `offset`."""
        return self.next_offset - self.offset - len(self.unsettled) - len(self.dead)

    @property
    def is_busy(self) -> bool:
        """Tell whether a message is out or dead."""
        return bool(self.unsettled or self.dead)

    @property
    def has_last_chances(self) -> bool:
        """Tell whether a message will be dead when its visibility timeout is over."""
        return len(self._last_chances) > 0

    def counts(self, clock_ms: int, *, end: int) -> WorkCounts:
        """Return how many messages are in each state; it looks at each one that is out.

        Args:
            clock_ms: the partition clock.
            end: the high watermark.
        """
        due = delayed = 0
        for offset, attempt in self.unsettled.items():
            if attempt.visible_at_ms <= clock_ms:
                due += 1
            elif offset in self._given_back:
                delayed += 1
        return WorkCounts(
            visible=max(0, end - self.next_offset) + due,
            in_flight=len(self.unsettled) - due - delayed,
            delayed=delayed,
            dead=len(self.dead),
        )

    # --- what a leader would do -------------------------------------------------------------

    def choose(self, clock_ms: int, *, end: int, max_messages: int, room: int) -> Choice:
        """Return the messages to deliver: redeliveries first, by offset, then new ones.

        Args:
            clock_ms: the partition clock.
            end: the high watermark.
            max_messages: most messages.
            room: most messages that may be out or dead at a time.
        """
        again = tuple(self._coming_back.over(clock_ms, max_messages))
        room -= len(self.unsettled) + len(self.dead)
        count = max(0, min(end - self.next_offset, max_messages - len(again), room))
        return Choice(again, self.next_offset, self.next_offset + count)

    def comes_back_at(self, clock_ms: int) -> int | None:
        """Return when the next message is due for redelivery, now if one is; None for none."""
        return self._coming_back.earliest(clock_ms)

    def dies_at(self, clock_ms: int) -> int | None:
        """Return when a message will be dead, now if one should be; None for none."""
        return self._last_chances.earliest(clock_ms)

    def judge(self, kind: SettleKind, receipt: Receipt) -> Outcome | None:
        """Return the outcome of a receipt that is not current; None while its message is out."""
        offset = receipt.offset
        if receipt.origin != self.origin or not 0 <= offset < self.next_offset:
            return UNKNOWN
        last = self.dead.get(offset)
        if last is not None:
            given_back = kind is SettleKind.NACK and receipt.attempt == last
            return Outcome(done=given_back, reason="dead")
        known = self.unsettled.get(offset)
        if known is None:
            return Outcome(done=kind is SettleKind.ACK, reason="settled")
        if receipt.attempt != known.number:
            return SUPERSEDED if receipt.attempt < known.number else UNKNOWN
        return None

    # --- transitions ------------------------------------------------------------------------

    def receive(
        self, choice: Choice, clock_ms: int, *, end: int, visibility_ms: int
    ) -> list[tuple[int, int]]:
        """Deliver the messages of a choice that can still be delivered.

        Args:
            choice: what the leader chose, maybe before other changes.
            clock_ms: the partition clock.
            end: the high watermark.
            visibility_ms: how long the messages are out.

        Returns:
            (offset, number of the delivery) of each, in the order of the choice.
        """
        self.expire(clock_ms)
        delivered: list[tuple[int, int]] = []
        for offset in choice.again:
            known = self.unsettled.get(offset)
            if known is None or known.visible_at_ms > clock_ms:
                continue
            delivered.append((offset, known.number + 1))
        if choice.new_from <= self.next_offset:
            new_to = min(choice.new_to, end)
            delivered += [(offset, 1) for offset in range(self.next_offset, new_to)]
            self.next_offset = max(self.next_offset, new_to)
        for offset, number in delivered:
            self._put(offset, Attempt(number, clock_ms + visibility_ms))
        return delivered

    def pass_over(self, choice: Choice, skip_to: int) -> int:
        """Skip messages that cannot be decoded, if they are the next ones.

        Args:
            choice: where they begin, `new_from`.
            skip_to: offset after the last of them.

        Returns:
            How many they are.
        """
        if not choice.new_from == self.next_offset < skip_to:
            return 0
        passed, self.next_offset = skip_to - self.next_offset, skip_to
        return passed

    def configure(self, delivery_limit: int, dead_letter_topic: str) -> None:
        """Set how often a message is delivered, and where it goes then."""
        self.dead_letter_topic = dead_letter_topic
        if delivery_limit != self.delivery_limit:
            self.delivery_limit = delivery_limit
            self._index_all()

    def settle(
        self, kind: SettleKind, receipts: Iterable[Receipt], clock_ms: int, *, delay_ms: int = 0
    ) -> list[Outcome]:
        """Acknowledge, give back or extend deliveries.

        Args:
            kind: which of the three.
            receipts: of the deliveries.
            clock_ms: the partition clock.
            delay_ms: how long from now they are invisible, for `NACK` and `EXTEND`.

        Returns:
            The outcome of each, in order.
        """
        return [self._settle(kind, receipt, clock_ms + delay_ms) for receipt in receipts]

    def expire(self, clock_ms: int) -> list[int]:
        """Mark messages dead whose last delivery timed out; return their offsets."""
        expired = self._last_chances.over(clock_ms, len(self._last_chances))
        for offset in expired:
            self.dead[offset] = self._take(offset).number
        return expired

    def dead_copied(self, offsets: Iterable[int]) -> None:
        """Settle dead messages that were copied to the dead-letter topic."""
        for offset in offsets:
            self.dead.pop(offset, None)

    def truncate(self, log_start_offset: int) -> None:
        """Drop the messages that retention deleted, whatever their state."""
        for offset in [offset for offset in self.unsettled if offset < log_start_offset]:
            self._take(offset)
            self.missed += 1
        for offset in [offset for offset in self.dead if offset < log_start_offset]:
            del self.dead[offset]
            self.missed += 1
        if self.next_offset < log_start_offset:
            self.missed += log_start_offset - self.next_offset
            self.next_offset = log_start_offset

    def tell_missed(self) -> int:
        """Return how many messages were deleted before they were settled; count anew from now."""
        missed, self.missed = self.missed, 0
        return missed

    # --- snapshots --------------------------------------------------------------------------

    def row(self) -> WorkRow:
        """Return everything as plain values."""
        return (
            self.origin,
            self.next_offset,
            self.delivery_limit,
            self.dead_letter_topic,
            self.missed,
            [(offset, *attempt) for offset, attempt in self.unsettled.items()],
            list(self.dead.items()),
        )

    @classmethod
    def load(cls, row: WorkRow) -> Work:
        """Make it from what `row` returned."""
        origin, next_offset, limit, topic, missed, unsettled, dead = row
        work = cls(origin, next_offset)
        work.delivery_limit, work.dead_letter_topic, work.missed = limit, topic, missed
        work.unsettled = {offset: Attempt(number, time) for offset, number, time in unsettled}
        work.dead = dict(dead)
        work._index_all()
        return work

    # --- details ----------------------------------------------------------------------------

    def _settle(self, kind: SettleKind, receipt: Receipt, visible_at_ms: int) -> Outcome:
        outcome = self.judge(kind, receipt)
        if outcome is not None:
            return outcome
        offset, attempt = receipt.offset, receipt.attempt
        if kind is SettleKind.ACK:
            self._take(offset)
        elif kind is SettleKind.NACK and attempt >= self.delivery_limit:
            self._take(offset)
            self.dead[offset] = attempt
            return Outcome(done=True, reason="dead")
        else:
            self._put(offset, Attempt(attempt, visible_at_ms))
            if kind is SettleKind.NACK:
                self._given_back.add(offset)
        return DONE

    def _put(self, offset: int, attempt: Attempt) -> None:
        self.unsettled[offset] = attempt
        self._given_back.discard(offset)
        self._index(offset, attempt)

    def _take(self, offset: int) -> Attempt:
        self._coming_back.remove(offset)
        self._last_chances.remove(offset)
        self._given_back.discard(offset)
        return self.unsettled.pop(offset)

    def _index(self, offset: int, attempt: Attempt) -> None:
        if attempt.number < self.delivery_limit:
            self._coming_back.put(offset, attempt.visible_at_ms)
        else:
            self._coming_back.remove(offset)
            self._last_chances.put(offset, attempt.visible_at_ms)

    def _index_all(self) -> None:
        self._coming_back, self._last_chances = RedeliveryTimes(), RedeliveryTimes()
        for offset, attempt in self.unsettled.items():
            self._index(offset, attempt)


def format_receipt(receipt: Receipt) -> str:
    """Return the opaque text that a worker gets."""
    return f"{receipt.origin}.{receipt.offset}.{receipt.attempt}"


def parse_receipts(texts: Sequence[str]) -> list[Receipt]:
    """Read what `format_receipt` wrote.

    Raises:
        ValueError: a text is no receipt; it is the argument.
    """
    receipts = []
    for text in texts:
        parts = text.split(".")
        if len(parts) != 3 or not all(
            part.isascii() and part.isdigit() and len(part) <= 18 for part in parts
        ):
            raise ValueError(text)
        receipts.append(Receipt(*map(int, parts)))
    return receipts
