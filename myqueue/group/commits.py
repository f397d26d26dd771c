"""What a member of a consumer group holds, and what of it the cluster is told. Pure.

Commits name the generation under which a partition is held, so that they are refused once it has
gone to somebody else; then it is dropped here, and its messages are read again over there.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myqueue.contract.errors import IllegalGeneration, QueueError
from myqueue.contract.group_inputs import (
    DEFAULT_SESSION_TIMEOUT_MS,
    SessionTimeoutMs,
    check_group_name,
)
from myqueue.contract.inputs import Start, check_fields
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Acquire, Flow
from myqueue.transport.fetching import Fetching
from myqueue.transport.group_calls import by_topic, commit_call
from myqueue.transport.registration import warn
from myqueue.transport.retry import Attempts
from myqueue.transport.rotation import WARN_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myqueue.config import ClientConfig
    from myqueue.group.assigned_partition import Holding
    from myqueue.transport.clock import Clock
    from myqueue.transport.effects import Lock
    from myqueue.transport.rotation import TopicPartition

QUIET_SHARE = 6
"""Part of a session after which a round of commits in the background leaves the rest for later."""


@dataclass(frozen=True)
class GroupSettings:
    """What a program says about its group.

    Raises:
        InvalidRequest: a value is impossible; the field is named.
    """

    group: str
    auto_commit: bool = True
    session_timeout_ms: SessionTimeoutMs = DEFAULT_SESSION_TIMEOUT_MS
    start: Start = "earliest"

    def __post_init__(self) -> None:
        check_fields(self)
        check_group_name(self.group)


class Committing(Fetching):
    """Base of `Member`: the partitions that are held, and how they are committed.

    Args:
        address: a manager's address, or several.
        settings: the group and how it is read.
        config: settings of the client.
        clock: time and chance.
        make_lock: makes a lock of the driver's kind.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        settings: GroupSettings,
        *,
        config: ClientConfig,
        clock: Clock,
        make_lock: Callable[[], Lock],
    ) -> None:
        self.settings = settings
        super().__init__("consumer", address, config=config, clock=clock, make_lock=make_lock)

    def make_locks(self) -> None:
        """Make new locks; in the child of a fork, what is held is the parent's."""
        super().make_locks()
        self._state_lock = threading.Lock()
        """Guards what follows; never held while a flow waits."""
        self._held: dict[TopicPartition, Holding] = {}
        self._lost: set[TopicPartition] = set()
        """Partitions that were lost while the program had messages of them in hand."""
        self._missed: dict[TopicPartition, int] = {}
        self._commit_lock = self.make_lock()
        """One commit at a time, so that an older one never comes after a newer one."""
        self._group_beat_s = float("inf")
        """Monotonic time of the next heartbeat to the group."""

    # What is held

    def assignment(self) -> dict[str, list[int]]:
        """Return the partitions that this member reads now, by topic."""
        with self._state_lock:
            return by_topic(where for where, one in self._held.items() if not one.is_revoked)

    def missed(self) -> dict[TopicPartition, int]:
        """Return how many messages retention deleted before this member came to them."""
        with self._state_lock:
            return dict(self._missed)

    def _note_missed(self, where: TopicPartition, count: int) -> None:
        if count <= 0:
            return
        with self._state_lock:
            self._missed[where] = self._missed.get(where, 0) + count
        warn(
            "retention deleted %d messages of %s/%d before group %s read them",
            *(count, *where, self.settings.group),
        )

    def lose(self, holding: Holding) -> None:
        """Forget a partition that belongs to somebody else by now."""
        with self._state_lock:
            if self._held.get(holding.where) is not holding:
                return
            del self._held[holding.where]
            if not holding.in_hand:
                return
            self._lost.add(holding.where)
        warn(
            "%s/%d was lost to another member of group %s while its messages were worked on;"
            " they are read again",
            *(*holding.where, self.settings.group),
        )

    def hurry_beat(self) -> None:
        """Have the next heartbeat at once: there is something to tell or to learn."""
        self._group_beat_s = self.core_due_s = self.clock.monotonic()
        self.wake_beats()

    # Committing

    def commit_quietly(self, wanted: list[Holding]) -> Flow[None]:
        """Commit some partitions in little time; what does not succeed is tried again later."""
        until_s = self.clock.monotonic() + self.settings.session_timeout_ms / 1000 / QUIET_SHARE
        for holding in wanted:
            if self.clock.monotonic() > until_s:
                return
            with suppress(QueueError):
                yield from self.commit_holding(holding, self.short_attempts())

    def commit_holding(self, holding: Holding, attempts: Attempts) -> Flow[None]:
        """Commit what the program is done with in one partition.

        Raises:
            IllegalGeneration: the partition belongs to somebody else; it is dropped.
            QueueError: it was not possible; whether it happened does not matter.
        """
        yield Acquire(self._commit_lock)
        try:
            offset = holding.finished
            if not holding.to_commit:
                return
            call = commit_call(
                holding.where,
                self.settings.group,
                holding.generation,
                offset=offset,
                timeout_ms=self.config.request_timeout_ms,
            )
            try:
                yield from self.at_leader(call, attempts, read_body)
            except IllegalGeneration:
                self.lose(holding)
                self.hurry_beat()
                raise
            except QueueError as error:
                self._commit_failed(holding, error)
                raise
            holding.uncommitted_since_s = None
            holding.committed = offset
        finally:
            self._commit_lock.release()

    def _commit_failed(self, holding: Holding, error: QueueError) -> None:
        """Warn when a partition takes no commit for longer than an election takes."""
        now_s = self.clock.monotonic()
        if holding.uncommitted_since_s is None:
            holding.uncommitted_since_s = now_s
        silent_s = now_s - holding.uncommitted_since_s
        if silent_s >= WARN_AFTER_S:
            self.complaints.warn(
                "commits",
                "commits of group %s in %s/%d fail for %.1f s: %s: %s",
                *(self.settings.group, *holding.where, silent_s, error.code, error.message),
            )

    def short_attempts(self) -> Attempts:
        """Return little patience: there are other partitions, and it is tried again."""
        deadline_s = self.clock.monotonic() + self.config.leader_patience_ms / 1000
        return Attempts(self.config, deadline_s=deadline_s)
