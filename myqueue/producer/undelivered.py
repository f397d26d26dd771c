"""Failures that the program has not seen, for `close` and a program's end to report. Pure.

A failure is reported when the program took it: with `result()` or `exception()` of the message's
future, also inside a callback, or by `await`. A call that waits for its message (`enqueue`,
`produce_many`) reports it with the error that it raises.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.errors import OUTCOME_UNKNOWN, QueueError, UndeliveredMessages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from myqueue.producer.lanes import Batch


class Undelivered(NamedTuple):
    """A message that was not delivered, as far as is known here."""

    topic: str
    value: str | bytes
    cause: str
    outcome_known: bool
    """False when it may have been delivered."""


class UnreportedFailures:
    """Batches that failed, until the program took their failures. Its owner holds a lock.

    Args:
        bytes_max: most bytes of messages that are kept; of older ones only the number is.
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._failed: list[tuple[Batch, BaseException]] = []
        self._held_bytes = 0
        self._dropped: Counter[str] = Counter()

    def add(self, batch: Batch, error: BaseException) -> None:
        """Keep a batch that failed, before its futures get the failure."""
        self._failed.append((batch, error))
        self._held_bytes += batch.size_bytes
        if self._held_bytes > self._bytes_max:
            self._make_room()

    def take(self) -> tuple[list[Undelivered], Counter[str]]:
        """Return the failures that were not reported, and count them as reported.

        Returns:
            The messages that were kept, and the number of older ones by topic.
        """
        failed, self._failed = self._failed, []
        dropped, self._dropped = self._dropped, Counter()
        self._held_bytes = 0
        return [one for batch, error in failed for one in lost_of(batch, error)], dropped

    def _make_room(self) -> None:
        """Drop batches whose failure was reported, and the oldest of the others."""
        self._failed = [one for one in self._failed if not one[0].is_reported]
        self._held_bytes = sum(batch.size_bytes for batch, _ in self._failed)
        while self._held_bytes > self._bytes_max // 2 and len(self._failed) > 1:
            batch, error = self._failed.pop(0)
            self._held_bytes -= batch.size_bytes
            self._dropped[batch.where[0]] += len(lost_of(batch, error))


def lost_of(batch: Batch, error: BaseException) -> list[Undelivered]:
    """Return the messages of a batch whose failure was not reported; it counts as reported."""
    cause = cause_of(error)
    known = not isinstance(error, QueueError) or error.outcome_known
    return [
        Undelivered(batch.where[0], record.value, cause, known)
        for record in batch.take_unreported_records()
    ]


def cause_of(error: BaseException) -> str:
    """Return an error as a text for people."""
    if isinstance(error, QueueError):
        return f"{error.code}: {error.message}"
    return f"{type(error).__name__}: {error}"


def undelivered(lost: Sequence[Undelivered], dropped: Counter[str]) -> UndeliveredMessages:
    """Return the error that `close` raises for messages that were not delivered.

    Args:
        lost: the messages, at least one of them or of the dropped ones.
        dropped: how many more there are by topic, without their values.
    """
    ordered = sorted(lost, key=lambda one: one.outcome_known)
    unknown = sum(not one.outcome_known for one in lost)
    number = len(lost) + dropped.total()
    text = f"{number} messages were not delivered, {unknown} of them have an unknown outcome"
    if dropped:
        text += f"; values has the last {len(lost)}"
    causes = Counter(one.cause for one in lost)
    text += "".join(f"; {count} times {cause}" for cause, count in causes.most_common(3))
    return UndeliveredMessages(
        text,
        values=[one.value for one in ordered],
        outcome=OUTCOME_UNKNOWN if unknown else None,
    )


def lines(lost: Iterable[Undelivered], dropped: Counter[str]) -> list[str]:
    """Return the lines that a program that ends prints, one per topic with undelivered messages."""
    by_topic: dict[str, list[Undelivered]] = {topic: [] for topic in dropped}
    for one in lost:
        by_topic.setdefault(one.topic, []).append(one)
    found = []
    for topic, ones in by_topic.items():
        unknown = sum(not one.outcome_known for one in ones)
        may = f" ({unknown} of them may have arrived all the same)" if unknown else ""
        causes = Counter(one.cause for one in ones)
        why = causes.most_common(1)[0][0] if causes else "see the log"
        number = len(ones) + dropped[topic]
        found.append(f"myqueue: {number} messages of topic {topic} were not delivered{may}: {why}")
    return found
