"""Moving leadership: quickly when a leader's connection breaks, orderly when it is asked for.

The hint (docs/explanation/consensus.md): when the connection from the leader breaks, the other
voters ask for pre-votes in the order of a rank, a fraction of the election timeout apart. A peer
that still hears the leader refuses, so one broken connection deposes no leader.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from http_base import tasks
from myqueue.contract.errors import CommitTimeout, QueueError, StalePlacement
from raft_app.core.errors import NodeNotLeader
from raft_app.core.types import NO_REPLICA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

SPREAD_MS = 1
"""For each group that the lost broker led, its hints are spread over so much more: they cost the
others' processors about that. Up to the election timeout."""
_SCATTER = 0x9E3779B1
"""Makes neighbouring group ids far apart."""
RANK_MS = 75
"""Between the first attempts of two voters: longer than a round of pre-votes and votes."""
JITTER_MS = 50
RETRY_MS = (150, 300)
"""Pause before the next attempt, when the one before was refused or split."""
ATTEMPTS_MAX = 4
"""The first and three more; then the ordinary election timeout applies."""
HAND_OVER_TIMEOUT_MS = 2_000
"""Of each leadership that is handed over in the background."""


class Failover:
    """Hints and transfers of all groups of one broker; lives in the engine's loop."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        *,
        mark: Callable[[Replica], None],
        randomizer: Callable[[int, int], int],
        spread_ms_max: int = 1_000,
    ) -> None:
        """Watch over `replicas`.

        Args:
            replicas: the engine's, by group id.
            mark: has a replica drained in the next turn.
            randomizer: returns an integer in [low, high).
            spread_ms_max: over which the hints of many groups are spread at most.
        """
        self._spread_ms_max = spread_ms_max
        self._replicas = replicas
        self._mark = mark
        self._randomizer = randomizer
        self._hints: dict[int, asyncio.TimerHandle] = {}
        self._transfers: dict[int, list[asyncio.Future[None]]] = {}
        self._handing_over: set[asyncio.Task[None]] = set()

    def connection_lost(self, broker_id: int) -> None:
        """Tell the nodes that a broker is gone; campaign where it led.

        Its connection broke, or nothing comes over it any more.
        """
        led: list[tuple[Replica, int]] = []
        for replica in self._replicas.values():
            replica_id = replica.replica_on(broker_id)
            if replica_id == NO_REPLICA or replica.faulty:
                continue
            node = replica.node
            slept = node.is_asleep
            if node.leader == replica_id:
                led.append((replica, hint_rank(replica, lost=replica_id)))
            node.report_connection_lost(replica_id)
            if slept and not node.is_asleep:
                self._mark(replica)
        spread_ms = min(len(led) * SPREAD_MS, self._spread_ms_max)
        for replica, rank in led:
            turn_ms = turn_of(replica.group_id, spread_ms) + rank * (RANK_MS + spread_ms)
            self._schedule(replica, turn_ms + self._randomizer(0, JITTER_MS), attempt=1)

    def leadership_changed(self, replica: Replica) -> None:
        """End the hints and transfers of a replica that has another leader now."""
        if replica.leader_broker_id:
            hint = self._hints.pop(replica.group_id, None)
            if hint is not None:
                hint.cancel()
        if not replica.is_leader and replica.leader_broker_id:
            for future in self._transfers.pop(replica.group_id, ()):
                if not future.done():
                    future.set_result(None)

    async def transfer(self, replica: Replica, broker_id: int, *, timeout_ms: int) -> None:
        """Hand leadership to a broker; returns when another replica leads.

        Raises:
            NotLeader | NoLeader: the replica here does not lead.
            StalePlacement: the group has no voter on that broker.
            CommitTimeout: it did not happen in time.
        """
        replica_id = replica.replica_on(broker_id)
        if replica_id not in replica.node.membership.voter_ids:
            raise StalePlacement(f"{replica.label} has no voter on broker {broker_id}")
        if replica_id == replica.spec.replica_id and replica.is_leader:
            return
        try:
            replica.node.transfer_leadership(replica_id)
        except NodeNotLeader as error:
            raise replica.not_leader() from error
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transfers.setdefault(replica.group_id, []).append(future)
        self._mark(replica)
        try:
            await asyncio.wait_for(future, timeout_ms / 1000)
        except TimeoutError as error:
            raise CommitTimeout(
                f"{replica.label} was not handed to broker {broker_id} within {timeout_ms} ms"
            ) from error
        finally:
            waiting = self._transfers.get(replica.group_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._transfers.pop(replica.group_id, None)

    async def hand_over_all(self, *, timeout_ms: int) -> int:
        """Hand every leadership to the peer that lags least; return how many remained."""
        led = [
            replica
            for replica in self._replicas.values()
            if replica.is_leader and not replica.faulty
        ]
        transfers = [
            self.transfer(replica, best, timeout_ms=timeout_ms)
            for replica in led
            if (best := best_successor(replica))
        ]
        for result in await asyncio.gather(*transfers, return_exceptions=True):
            if isinstance(result, QueueError):
                logger.warning("leadership not handed over: %s", result)
            elif isinstance(result, BaseException):
                raise result
        return sum(replica.is_leader for replica in led)

    def hand_over_soon(self, why: str, *, attempt: int) -> int:
        """Ask peers in the background to take over what is led here; return how many replicas.

        Args:
            why: what the log says about it.
            attempt: 0 asks the peer with the longest log, 1 the next one, and so on.
        """
        led = [replica for replica in self._replicas.values() if replica.is_leader]
        for replica in led:
            brokers = successors(replica)
            if brokers:
                handing = self._hand_over(replica, brokers[attempt % len(brokers)], why)
                task = tasks.spawn(f"handing {replica.label} over", handing)
                self._handing_over.add(task)
                task.add_done_callback(self._handing_over.discard)
        return len(led)

    async def _hand_over(self, replica: Replica, broker_id: int, why: str) -> None:
        try:
            await self.transfer(replica, broker_id, timeout_ms=HAND_OVER_TIMEOUT_MS)
        except QueueError as error:
            logger.warning("%s: %s, and: %s", replica.label, why, error)
        else:
            logger.warning("%s: %s, broker %d leads", replica.label, why, broker_id)

    async def stop(self) -> None:
        """Cancel all timers and waiting transfers."""
        await tasks.cancel(self._handing_over)
        for hint in self._hints.values():
            hint.cancel()
        for futures in self._transfers.values():
            for future in futures:
                future.cancel()
        self._hints.clear()
        self._transfers.clear()

    def _schedule(self, replica: Replica, delay_ms: int, *, attempt: int) -> None:
        earlier = self._hints.pop(replica.group_id, None)
        if earlier is not None:
            earlier.cancel()
        loop = asyncio.get_running_loop()
        self._hints[replica.group_id] = loop.call_later(
            delay_ms / 1000, self._hint, replica, attempt
        )

    def _hint(self, replica: Replica, attempt: int) -> None:
        """Ask for pre-votes, and be ready to ask again."""
        self._hints.pop(replica.group_id, None)
        present = self._replicas.get(replica.group_id) is replica
        if not present or replica.faulty or replica.is_leader or replica.hears_leader:
            return
        replica.node.campaign_hint()
        self._mark(replica)
        if attempt < ATTEMPTS_MAX:
            self._schedule(replica, self._randomizer(*RETRY_MS), attempt=attempt + 1)


def turn_of(group_id: int, spread_ms: int) -> int:
    """Return when a group's turn comes among many: the same on all brokers that lost the same.

    So the ranks of its voters stay apart.
    """
    return (group_id * _SCATTER % (1 << 32)) * spread_ms >> 32


def hint_rank(replica: Replica, *, lost: int) -> int:
    """Return the turn of this replica among the voters without the lost leader, from 0.

    The order is shifted by the group id, so that many groups share the work of campaigning.
    """
    others = sorted(replica.node.membership.voter_ids - {lost})
    if replica.spec.replica_id not in others:
        return len(others)
    return (others.index(replica.spec.replica_id) + replica.group_id) % len(others)


def best_successor(replica: Replica) -> int:
    """Return the broker of the voter whose log is the longest, 0 when there is none."""
    return next(iter(successors(replica)), 0)


def successors(replica: Replica) -> list[int]:
    """Return the brokers of the other voters, the longest log first."""
    voters = replica.node.membership.voter_ids
    peers = [peer for peer in replica.progress() if peer.replica_id in voters]
    peers.sort(key=lambda peer: (-peer.match_index, peer.replica_id))
    return [peer.broker_id for peer in peers]
