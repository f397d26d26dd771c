"""What a leader knows about one peer, and how much it may send to it.

A peer is probed until the leader knows where their logs agree: one AppendEntries at a time. From
then on it is replicated to: AppendEntries follow each other without waiting for the replies, within
a window. A refusal, or word that something may have been lost, leads back to probing. A peer that
needs what the log does not have any more gets a snapshot, and nothing but heartbeats meanwhile.

    PROBE --success--> REPLICATE --refused, unreachable--> PROBE
    PROBE, REPLICATE --entries are gone--> SNAPSHOT --its end--> PROBE
                                           SNAPSHOT --success--> REPLICATE
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_app.core.config import RaftConfig
    from raft_app.core.types import EntriesWanted


class ProgressState(StrEnum):
    """How a leader sends to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """A leader's view of one peer; 0 <= match < next_index always.

    Attributes:
        peer: its replica id.
        match: the peer's log is known to agree up to here and to be durable up to here.
        next_index: first index that was not sent yet (REPLICATE) or that the probe tries (PROBE).
        state: changed by the methods alone.
        is_connected: nothing says that the connection from it broke.
        is_spare: a quorum does without it; see `spares`.
        is_active: heard since the last check-quorum.
        was_active: heard in the period before that.
        read_round: highest read round that it answered.
        wanted: older entries that are being read from storage for it; one range at a time.
        inflight_bytes: size of the entries on their way, those of a probe included.
        check_due: what was sent may be lost; if nothing else is sent now, ask where the logs agree.
    """

    __slots__ = (
        "_inflight",
        "_match_at_answer",
        "_probe_sent",
        "check_due",
        "inflight_bytes",
        "is_active",
        "is_connected",
        "is_spare",
        "match",
        "next_index",
        "peer",
        "read_round",
        "state",
        "wanted",
        "was_active",
    )

    def __init__(self, peer: int, next_index: int) -> None:
        self.peer = peer
        self.match = 0
        self.next_index = next_index
        self.state = ProgressState.PROBE
        self.is_connected = True
        self.is_spare = False
        self.is_active = False
        self.was_active = False
        self.read_round = 0
        self.wanted: EntriesWanted | None = None
        self.check_due = False
        self._match_at_answer = -1
        self._probe_sent = False
        self._inflight: deque[tuple[int, int]] = deque()
        self.inflight_bytes = 0

    @property
    def inflight_appends(self) -> int:
        """AppendEntries with entries that are not acknowledged; 0 while probing."""
        return len(self._inflight)

    @property
    def under_way_bytes(self) -> int:
        """Size of the entries on their way, or being read from storage for it: at most so much."""
        return self.inflight_bytes + (self.wanted.max_bytes if self.wanted else 0)

    @property
    def is_heard(self) -> bool:
        """The peer answered in this period of the check-quorum or the one before."""
        return self.is_active or self.was_active

    @property
    def is_following(self) -> bool:
        """The peer was heard lately and takes entries as they come."""
        return self.state is ProgressState.REPLICATE and self.is_heard

    def may_send(self, config: RaftConfig) -> bool:
        """Tell whether another AppendEntries with entries may be sent now."""
        if self.wanted is not None or self.state is ProgressState.SNAPSHOT:
            return False
        if self.state is ProgressState.PROBE:
            return not self._probe_sent
        return (
            len(self._inflight) < config.max_inflight_appends
            and self.inflight_bytes < config.max_inflight_bytes
        )

    def sent(self, last_index: int, size_bytes: int) -> None:
        """An AppendEntries with entries up to `last_index` was sent."""
        assert last_index >= self.next_index
        if self.state is ProgressState.PROBE:
            self._probe_sent = True
            self.inflight_bytes = size_bytes
            return
        self.next_index = last_index + 1
        self._inflight.append((last_index, size_bytes))
        self.inflight_bytes += size_bytes

    def acknowledged(self, index: int) -> bool:
        """The peer's log agrees up to `index`, durably. Tells whether that was news.

        A late reply below `match` says nothing. At `match` it still ends a probe.
        """
        if index < self.match:
            return False
        is_news = index > self.match
        self.match = index
        if self.state is not ProgressState.REPLICATE:
            self._replicate()
            return is_news
        self.next_index = max(self.next_index, index + 1)
        while self._inflight and self._inflight[0][0] <= index:
            self.inflight_bytes -= self._inflight.popleft()[1]
        return is_news

    def refused(self, prev_index: int, possible_match: int) -> bool:
        """The peer's log does not agree at `prev_index`. Tells whether that was news.

        Args:
            prev_index: what the refused AppendEntries named.
            possible_match: highest index below it at which the logs may agree.
        """
        if self.state is ProgressState.PROBE:
            is_news = prev_index == self.next_index - 1 and prev_index > self.match
        else:
            is_news = prev_index > self.match
        if not is_news:
            return False
        self._probe(max(self.match, min(prev_index - 1, possible_match)) + 1)
        return True

    def heartbeat_answered(self) -> bool:
        """The peer answered a heartbeat. Tells whether it acknowledged nothing since the last one.

        While acknowledgements come, a loss shows by itself: the next append is refused.
        """
        is_stalled = self._match_at_answer == self.match
        self._match_at_answer = self.match
        self.is_active = self.is_connected = True
        return is_stalled

    def unreachable(self, first_index: int = 1) -> None:
        """Something sent is lost: probe again, as soon as the peer answers a heartbeat.

        Args:
            first_index: the lowest index that can be sent. Of a peer that has acknowledged nothing
                yet the log may hold all that it lacks.
        """
        if self.state is not ProgressState.SNAPSHOT:
            self._probe_later(first_index)

    def forget_answers(self) -> None:
        """Count the peer as heard only when it is heard again."""
        self.is_active = self.was_active = False

    def reachable(self) -> None:
        """The peer is there again: what it lacks may be sent without waiting for its answer."""
        self.is_connected = True
        if self.state is ProgressState.PROBE:
            self._probe_sent = False

    def begin_period(self) -> None:
        """A check-quorum was done: count anew whether the peer is heard."""
        self.was_active = self.is_active
        self.is_active = False

    def begin_snapshot(self) -> None:
        """The peer will get a snapshot; until it has it, or it failed, only heartbeats."""
        self._probe(self.match + 1)
        self.state = ProgressState.SNAPSHOT
        self.wanted = None

    def end_snapshot(self, first_index: int, *, ok: bool) -> None:
        """The transfer of a snapshot ended: find out where the logs agree now.

        Args:
            first_index: the lowest index that can be sent.
            ok: the peer has the snapshot; else it is probed when it answers a heartbeat, and
                offered one again when it still needs one.
        """
        assert self.state is ProgressState.SNAPSHOT
        if ok:
            self._probe(max(self.match + 1, first_index))
        else:
            self._probe_later(first_index)

    def _probe_later(self, first_index: int) -> None:
        self._probe(max(self.match + 1, first_index))
        self._probe_sent = True
        self._match_at_answer = self.match

    def _probe(self, next_index: int) -> None:
        self.state = ProgressState.PROBE
        self.next_index = next_index
        self._probe_sent = False
        self._inflight.clear()
        self.inflight_bytes = 0

    def _replicate(self) -> None:
        self.state = ProgressState.REPLICATE
        self.next_index = self.match + 1
        self._probe_sent = False
        self.inflight_bytes = 0
