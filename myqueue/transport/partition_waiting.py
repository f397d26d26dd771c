"""Waits for messages of several partitions, some of which may be silent. Pure.

Consumers that pop and workers that receive wait alike: they ask one partition after the other,
pause those that do not answer, and then have one call held at each broker, for all partitions there
that had nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from myqueue.contract.errors import QueueError
from myqueue.transport.effects import Acquire, Begin, Flow, Pending
from myqueue.transport.empty_partitions import EmptyPartitions
from myqueue.transport.metadata import MANAGER
from myqueue.transport.rotation import (
    NO_PARTITION,
    WARN_AFTER_S,
    PartitionRotation,
    Silence,
    TopicPartition,
    Wait,
    is_over,
    may_pass,
    no_answer,
    wait_s,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from myqueue.contract.http1 import Request
    from myqueue.results import Registration
    from myqueue.transport.session import Session

T = TypeVar("T")


class PartitionWaiting:
    """The partitions of one reader: which is asked next, and which are waited at.

    Args:
        session: of the client.
        held_request: makes the request that a server holds, for at most `long_poll_ms`, until one
            of some partitions has messages; given the registrations of their topics.

    Attributes:
        rotation: the order of the partitions, and their failures.
    """

    def __init__(
        self,
        session: Session,
        held_request: Callable[[list[TopicPartition], Mapping[str, Registration]], Request],
    ) -> None:
        self.rotation = PartitionRotation()
        self._session = session
        self._held_request = held_request
        self._wait_lock = session.make_lock()
        """One flow at a time waits at several partitions."""
        self._empty = EmptyPartitions(self._find, self._begin)

    def ask_in_turn(
        self,
        partitions: list[TopicPartition],
        ask: Callable[[TopicPartition], Flow[list[T]]],
        quiet: set[TopicPartition],
        wait: Wait,
    ) -> Flow[list[T]]:
        """Return the result of the first partition that has messages; empty when none has.

        Args:
            partitions: those to ask.
            ask: a flow that asks one, for a short time.
            quiet: those that certainly have no messages.
            wait: the call of the program that this belongs to.

        Raises:
            QueueError: a partition refused, with an error that does not pass.
        """
        rotation = self.rotation
        for where in rotation.order(partitions, self._session.clock.monotonic()):
            if where in quiet:
                continue
            wait.ask(where, self._session.clock.monotonic())
            try:
                found = yield from ask(where)
            except QueueError as error:
                if not may_pass(error):
                    raise
                self.failed(where, error, wait)
                continue
            wait.asking = None
            rotation.answered(where, served=bool(found))
            if found:
                return found
        return []

    def managers_answered(self, topics: Iterable[str]) -> None:
        """Note that managers have told the partitions of the topics."""
        for topic in topics:
            self.rotation.answered((topic, NO_PARTITION), served=False)

    def failed(self, where: TopicPartition, error: QueueError, wait: Wait) -> None:
        """Note that a partition, which was asked last, did not answer."""
        self.rotation.failed(
            where,
            error,
            self._session.clock.monotonic(),
            asked_s=wait.asked_s,
            stale_s=self._session.config.delivery_timeout_ms / 1000,
        )

    def out_of_time(self, topic: str, wait: Wait) -> None:
        """Note what was asked when the time was over: a partition, or a manager about a topic.

        Raises:
            QueueError: it has been silent for too long.
        """
        where = wait.asking or (topic, NO_PARTITION)
        self.failed(where, no_answer(where), wait)
        self.is_over([where], wait)

    def is_over(self, partitions: list[TopicPartition], wait: Wait) -> bool:
        """Return whether a wait is over that found nothing; warn of partitions that are silent.

        Raises:
            QueueError: that of a partition that has not answered for too long.
        """
        return is_over_for(self._session, wait, self.rotation.silent(partitions))

    def wait(
        self, partitions: list[TopicPartition], deadline_s: float
    ) -> Flow[set[TopicPartition]]:
        """Wait until a partition may have messages; return those that certainly have none."""
        now_s, longest_s = self._session.clock.monotonic(), self._session.config.long_poll_ms / 1000
        silent = self.rotation.silent(partitions)
        slice_s = wait_s(silent, now_s, deadline_s=deadline_s, longest_s=longest_s)
        if slice_s <= 0 or not (yield Acquire(self._wait_lock, slice_s)):
            return set()
        try:
            answering = [where for where in partitions if where not in silent]
            yield from self._empty.wait(answering, slice_s)
            return (yield from self._empty.quiet(answering))
        finally:
            if self._session.closing:
                self._empty.close()
            self._wait_lock.release()

    def close(self) -> None:
        """Cancel what is held at servers; a flow that waits does it at its end."""
        if not self._wait_lock.locked():
            self._empty.close()

    def _find(self, where: TopicPartition) -> Flow[str]:
        """Return where to wait for a partition: at its leader, or at a manager."""
        address = yield from self._session.leader_address(*where)
        return self._session.managers.preferred if address == MANAGER else address

    def _begin(self, address: str, places: list[TopicPartition]) -> Flow[Pending]:
        """Send the call that is answered when one of the partitions has messages."""
        registrations = {}
        for topic in {topic for topic, _ in places}:
            registrations[topic] = yield from self._session.registration(topic)
        config = self._session.config
        timeout_s = (config.request_timeout_ms + config.long_poll_ms) / 1000
        request = self._held_request(places, registrations)
        pending: Pending = yield Begin(address, request, timeout_s)
        return pending


def is_over_for(session: Session, wait: Wait, silent: dict[TopicPartition, Silence]) -> bool:
    """Return whether a wait is over that found nothing; warn of those that are silent.

    Args:
        session: of the client.
        wait: the call of the program.
        silent: those that did not answer the last time they were asked.

    Raises:
        QueueError: that of one that has not answered for too long.
    """
    now_s = session.clock.monotonic()
    over = is_over(silent, wait, now_s)
    if silent:
        _warn_of(session, silent, now_s)
    else:
        session.complaints.forget("silence")
    return over


def _warn_of(session: Session, silent: dict[TopicPartition, Silence], now_s: float) -> None:
    """Warn of partitions that have not answered for longer than an election takes."""
    first = min(silent.values(), key=lambda one: one.asked_s)
    silent_s = now_s - first.asked_s
    if silent_s < WARN_AFTER_S:
        return
    session.complaints.warn(
        "silence",
        "%s: no answer for %.1f s, so messages that are there may not be seen: %s: %s",
        ", ".join(f"{topic}/{index}" for topic, index in sorted(silent) if index >= 0)
        or ", ".join(sorted({topic for topic, _ in silent})),
        *(silent_s, first.error.code, first.error.message),
    )
