"""Stands guard while groups sleep: one sign of life for each pair of brokers.

Groups that sleep send nothing, so it is brokers that hear each other. A peer that falls silent, or
whose connection breaks, is gone for every group that it leads, and those wake (`Failover`). When it
is heard again, the groups led here let its replicas sleep, or wake when these lag, some at a time.

Silence is counted in ticks: while this process stands still, so does the count.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from raft_app.core.types import NO_REPLICA, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from raft_app.core.config import RaftConfig
    from raft_app.core.types import Quiesce, Rpc
    from raft_app.engine.failover import Failover
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

SILENCE_PARTS = (7, 10)
"""Part of the election timeout after which a peer counts as silent: sooner than any of its groups
would find out, so that a paused broker is replaced as one, and later than a busy machine pauses."""
REMINDERS_PER_TICK = 200
"""Groups that are looked at when a broker is back."""
WAKE_COST = 10
"""What waking a group counts among them."""


def silence_ticks(config: RaftConfig) -> int:
    """Return after how many ticks without a sign a peer counts as silent."""
    part, of = SILENCE_PARTS
    return config.election_timeout_ticks * part // of


class PeerSigns:
    """Which brokers are heard; knows neither clocks nor connections."""

    def __init__(self, silent_after_ticks: int) -> None:
        """Hear nobody yet."""
        self._silent_after_ticks = silent_after_ticks
        self._ticks = 0
        self._heard_at: dict[int, int] = {}
        self.heard_now: set[int] = set()
        """Brokers that were heard since the last tick."""

    def hears(self, broker_id: int) -> bool:
        """Tell whether a broker is heard."""
        return broker_id in self._heard_at

    def heard(self, broker_id: int) -> bool:
        """Note a sign of a broker; tell whether it had not been heard before."""
        is_back = broker_id not in self._heard_at
        self._heard_at[broker_id] = self._ticks
        self.heard_now.add(broker_id)
        return is_back

    def lost(self, broker_id: int) -> None:
        """Note that the connection from a broker broke."""
        self._heard_at.pop(broker_id, None)
        self.heard_now.discard(broker_id)

    def tick(self) -> list[int]:
        """Let a tick pass; return the brokers that fell silent with it."""
        self._ticks += 1
        self.heard_now.clear()
        latest = self._ticks - self._silent_after_ticks
        silent = [broker_id for broker_id, at in self._heard_at.items() if at <= latest]
        for broker_id in silent:
            del self._heard_at[broker_id]
        return silent


class Guard:
    """Watches the peers of one engine; lives in its loop."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        config: RaftConfig,
        *,
        failover: Failover,
        signs: PeerSigns,
        mark: Callable[[Replica], None],
        send: Callable[[int, Sequence[tuple[int, Rpc]]], None],
        peers: Iterable[int],
    ) -> None:
        """Hear nobody yet.

        Args:
            replicas: the engine's, by group id.
            config: of its nodes.
            failover: hears of peers that are gone, or back.
            signs: which brokers are heard; kept up to date here.
            mark: has a replica drained in the next turn.
            send: of the transport.
            peers: the brokers that are told that this one lives; changed by the engine.
        """
        self._replicas = replicas
        self._config = config
        self._failover = failover
        self._mark = mark
        self._send = send
        self._peers = peers
        self._signs = signs
        self._broken: set[int] = set()
        """Peers whose connection broke, and that were not heard since."""
        self._ticks = 0
        self._back: deque[tuple[int, int]] = deque()
        """(Broker, group) to be looked at since the broker is back."""
        self._resigned: dict[int, Replica] = {}
        """By group id: leaders that became faulty, whose followers may sleep."""
        self.silences = 0
        """How often a peer fell silent while its connection was up."""

    def heard(self, broker_id: int) -> None:
        """Note that something came from a peer."""
        if broker_id in self._signs.heard_now or not self._signs.heard(broker_id):
            return
        was_silent = broker_id not in self._broken
        self._broken.discard(broker_id)
        self._failover.broker_found(broker_id, was_silent=was_silent)
        if self._config.quiesce_after_ticks:
            self._back.extend((broker_id, group_id) for group_id in self._replicas)

    def lost(self, broker_id: int) -> None:
        """Note that the connection from a peer broke."""
        self._signs.lost(broker_id)
        self._broken.add(broker_id)
        self._failover.connection_lost(broker_id)

    def may_sleep(self, replica: Replica, rpc: Quiesce) -> bool:
        """Tell whether a follower may sleep: nobody whom its leader misses is heard here.

        Such a replica would campaign, and wake the group again and again.
        """
        return replica.faulty != "" or not any(
            self._signs.hears(replica.broker_of(one)) for one in rpc.lagging
        )

    def leadership_changed(self, replica: Replica) -> None:
        """Tell a new leader who is gone, and remember one that became faulty.

        That one lives, and yet nobody must sleep on it.
        """
        if not replica.node.is_leader:
            return
        if replica.faulty:
            self._resigned[replica.group_id] = replica
            return
        for member in replica.node.membership.members:
            is_other = member.replica_id != replica.spec.replica_id
            if is_other and not self._signs.hears(member.broker_id):
                replica.node.report_connection_lost(member.replica_id)

    def tick(self) -> None:
        """Let one tick pass: send signs, and miss those of others."""
        self._ticks += 1
        if self._ticks % self._config.heartbeat_ticks == 0:
            for broker_id in self._peers:
                self._send(broker_id, ())
        for broker_id in self._signs.tick():
            logger.warning("nothing comes from broker %d any more", broker_id)
            self.silences += 1
            self._failover.connection_lost(broker_id)
        self._failover.tick()
        if self._back:
            self._look_at_returned()
        if self._resigned and self._ticks % self._config.election_timeout_ticks == 0:
            self._tell_resigned()

    def _look_at_returned(self) -> None:
        """Let replicas on brokers that are back sleep, or wake for those that lag."""
        left = REMINDERS_PER_TICK
        while self._back and left > 0:
            broker_id, group_id = self._back.popleft()
            replica = self._replicas.get(group_id)
            if replica is None or not replica.is_leader or not self._signs.hears(broker_id):
                continue
            replica_id = replica.replica_on(broker_id)
            if replica_id == NO_REPLICA or not replica.node.is_asleep:
                continue
            replica.node.report_back(replica_id)
            self._mark(replica)
            left -= 1 if replica.node.is_asleep else WAKE_COST

    def _tell_resigned(self) -> None:
        for group_id, replica in list(self._resigned.items()):
            if self._replicas.get(group_id) is not replica:
                del self._resigned[group_id]
                continue
            sender, term = replica.spec.replica_id, replica.node.term
            for member in replica.node.membership.members:
                if member.replica_id != sender:
                    wake = Wake(member.replica_id, sender, term)
                    self._send(member.broker_id, [(group_id, wake)])
