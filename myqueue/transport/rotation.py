"""The order in which partitions are asked: after the one served last, failed ones later. Pure.

A partition without a leader must not keep a reader from the others: it gets one short try, and is
asked again only after a pause that doubles, while the others go on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import BrokerUnreachable, PartitionNotFound
from myqueue.transport.clock import FOREVER_S

if TYPE_CHECKING:
    from myqueue.contract.errors import QueueError

TopicPartition = tuple[str, int]
"""A topic's name and the number of one of its partitions."""


ANSWER_GRACE_S = 0.5
"""So long a call that waits may take for answers that are on the way, however short its timeout."""
HOLD_MARGIN_S = 0.1
"""So long before the end of a wait a server gives up, so that its answer is here in time."""
WARN_AFTER_S = 2.0
"""Silence of a partition or of the managers that is warned of; an election takes less."""
ONE_TRY_S = 0.25
"""How long a partition may keep the others waiting: time for redirects, not for an election."""
SILENT_PAUSE = Backoff(first_s=0.05, longest_s=1.0)
"""How long a partition rests that did not answer."""
RETRY_AT_LEAST_S = 0.001
NO_PARTITION = -1
"""Stands for those of a topic that are not known: no manager says how many there are."""


def no_answer(where: TopicPartition) -> BrokerUnreachable:
    """Return the error for a partition, or for the managers, that did not answer in time."""
    topic, partition = where
    whom = "no manager" if partition == NO_PARTITION else f"no leader of partition {partition}"
    return BrokerUnreachable(f"{whom} of topic {topic!r} answered in time")


def may_pass(error: QueueError) -> bool:
    """Tell whether a failure may pass, as while a partition is being created or moved."""
    return error.retriable or isinstance(error, PartitionNotFound)


class Silence(NamedTuple):
    """A partition that did not answer."""

    error: QueueError
    retry_s: float
    """Monotonic time from which it is asked again."""
    since_s: float
    """Monotonic time of its first failure in a row."""
    last_s: float
    """Monotonic time of its last failure."""
    asked_s: float
    """Monotonic time at which the first request in a row was sent that got no answer."""
    failures: int = 1
    """In a row."""


class Wait:
    """A call of the program that waits for messages.

    A wait with a timeout ends in time, even with nothing. A question (timeout 0) waits for no
    message, but until every partition has answered, so that an empty result is certain.

    Args:
        timeout: seconds; None for ever, 0 or less for a question.
        now_s: monotonic seconds.
        patience_s: how long a partition may be silent before its error is raised.
        grace_s: how much longer than its timeout it may take for what is being handed over; for
            calls that lose something when they are cut off.

    Attributes:
        asking: the partition whose answer is waited for.
        asked_s: monotonic time at which the last one was asked.
    """

    def __init__(
        self, timeout: float | None, *, now_s: float, patience_s: float, grace_s: float = 0.0
    ) -> None:
        self.started_s = now_s
        self.deadline_s = now_s + (FOREVER_S if timeout is None else timeout)
        self.patience_s = patience_s
        self.is_bounded = timeout is not None and timeout > 0
        self.limit_s = max(self.deadline_s + grace_s, now_s + ANSWER_GRACE_S)
        """Monotonic time at which the wait ends, whatever it waits for."""
        self.asking: TopicPartition | None = None
        self.asked_s = now_s

    def ask(self, where: TopicPartition | None, now_s: float) -> None:
        """Note whose answer is waited for from now on; None for nobody's."""
        self.asking, self.asked_s = where, now_s

    def hold_ms(self, now_s: float) -> int:
        """Return how long a server may hold a request that begins now; 0 near the end."""
        until_s = min(self.deadline_s, self.limit_s - HOLD_MARGIN_S)
        return max(0, round((until_s - now_s) * 1000))

    def raises(self, since_s: float, now_s: float) -> bool:
        """Tell whether a silence has lasted so long that it is raised, at the right moment."""
        if now_s - since_s < self.patience_s:
            return False
        late = self.is_bounded and now_s >= self.deadline_s
        return late or now_s >= self.started_s + self.patience_s


def wait_s(
    silent: dict[TopicPartition, Silence], now_s: float, *, deadline_s: float, longest_s: float
) -> float:
    """Return how long to wait for the partitions that answer, in seconds; 0 or less: not at all.

    That is until a silent partition may be asked again, even past the end of the wait: whether it
    has messages is not known before.
    """
    remaining_s = min(deadline_s - now_s, longest_s)
    if not silent:
        return remaining_s
    retry_s = max(RETRY_AT_LEAST_S, min(one.retry_s for one in silent.values()) - now_s)
    return retry_s if deadline_s <= now_s else min(remaining_s, retry_s)


def is_over(silent: dict[TopicPartition, Silence], wait: Wait, now_s: float) -> bool:
    """Tell whether a wait that found nothing is over.

    Args:
        silent: the partitions that did not answer the last time.
        wait: of the program.
        now_s: monotonic seconds.

    Raises:
        QueueError: the last failure of a partition that has been silent for too long.
    """
    for silence in silent.values():
        if wait.raises(silence.since_s, now_s):
            raise silence.error
    return now_s >= wait.deadline_s and (wait.is_bounded or not silent)


class PartitionRotation:
    """The order in which partitions are asked, with their failures. Safe from several threads.

    Attributes:
        has_silent: True while one did not answer the last time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: TopicPartition | None = None
        """The one that gave messages last."""
        self._silent: dict[TopicPartition, Silence] = {}
        self.has_silent = False

    def after_last(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the partitions, beginning after the one that was served last."""
        if self._last not in partitions:
            return partitions
        start = partitions.index(self._last) + 1
        return partitions[start:] + partitions[:start]

    def order(self, partitions: list[TopicPartition], now_s: float) -> list[TopicPartition]:
        """Return the partitions to ask now, beginning after the one that was served last."""
        with self._lock:
            return [
                where
                for where in self.after_last(partitions)
                if where not in self._silent or self._silent[where].retry_s <= now_s
            ]

    def answered(self, where: TopicPartition, *, served: bool) -> None:
        """Note an answer, and whether it had messages."""
        with self._lock:
            self._silent.pop(where, None)
            self.has_silent = bool(self._silent)
            if served:
                self._last = where

    def failed(
        self,
        where: TopicPartition,
        error: QueueError,
        now_s: float,
        *,
        asked_s: float,
        stale_s: float = float("inf"),
    ) -> None:
        """Pause a partition that did not answer.

        Args:
            where: topic and partition.
            error: of the request.
            now_s: monotonic seconds.
            asked_s: monotonic seconds at which the request was sent.
            stale_s: an earlier failure that is older does not count: nothing was asked since.
        """
        with self._lock:
            known = self._silent.get(where)
            before = 0 if known is None else known.failures
            since_s = now_s if known is None or now_s - known.last_s > stale_s else known.since_s
            self._silent[where] = Silence(
                error,
                now_s + SILENT_PAUSE.pause_s(before),
                since_s,
                now_s,
                asked_s=asked_s if known is None else known.asked_s,
                failures=before + 1,
            )
            self.has_silent = True

    def silent(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Silence]:
        """Return those of the partitions that did not answer last time."""
        with self._lock:
            return {where: self._silent[where] for where in partitions if where in self._silent}
