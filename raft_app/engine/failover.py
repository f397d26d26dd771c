"""Moving leadership: quickly when a leader's connection breaks, orderly when it is asked for.

The hint (docs/explanation/consensus.md): when the connection from the leader breaks, the other
voters ask for pre-votes in the order of a rank, a fraction of the election timeout apart. A peer
that still hears the leader refuses, so one broken connection deposes no leader.

A broker may lead thousands of groups that sleep. If all of them woke when it is gone, their timers,
pre-votes and heartbeats would keep the others' loops so busy that these count each other as gone.
So those that sleep go on sleeping until their turn: so many at a time, the next when one is led.
Whoever is asked for something has its turn at once. Where no quorum is in reach nobody wakes, and
who is awake without a leader sleeps until a broker comes back. So does what a broker has when it
starts, until its turn, or until a leader tells that it is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from http_base import tasks
from myqueue.contract.errors import CommitTimeout, QueueError, StalePlacement
from raft_app.core.errors import NodeNotLeader
from raft_app.core.quorum import is_quorum
from raft_app.core.types import NO_REPLICA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from raft_app.core.types import PreVote
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
AT_ONCE = 100
"""Groups that elect at once because of a lost broker; the others wait until one of them is led."""
FOUND_MS = 300
"""After a broker is heard again, or this one starts, before who has no leader campaigns: those that
lead say so meanwhile."""
LOOKED_AT_PER_TICK = 250
"""Replicas that are looked at in turn whether they sleep without a leader and nobody knows."""
LEADERS_PER_TICK = 25
"""Leaders that sleep and are left without a quorum wake so many at a time, to step down."""
HAND_OVER_TIMEOUT_MS = 2_000
"""Of each leadership that is handed over in the background."""


class _Turn(NamedTuple):
    """A replica whose leader is gone waits to campaign."""

    replica: Replica
    turn_ms: int
    """Its place among those of its rank."""
    rank: int
    due_s: float
    """Not before this loop time."""


class Failover:
    """Hints and transfers of all groups of one broker; lives in the engine's loop."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        *,
        mark: Callable[[Replica], None],
        randomizer: Callable[[int, int], int],
        hears: Callable[[int], bool],
        may_strand: bool = True,
        spread_ms_max: int = 1_000,
    ) -> None:
        """Watch over `replicas`.

        Args:
            replicas: the engine's, by group id.
            mark: has a replica drained in the next turn.
            randomizer: returns an integer in [low, high).
            hears: tells whether a broker is heard, by its id.
            may_strand: let those sleep who have neither a leader nor a quorum in reach.
            spread_ms_max: over which the hints of many groups are spread at most.
        """
        self._spread_ms_max = spread_ms_max
        self._hears = hears
        self._may_strand = may_strand
        self._turns: dict[int, _Turn] = {}
        """By group id, in order: what waits until fewer elect. These replicas sleep."""
        self._turns_timer: asyncio.TimerHandle | None = None
        self._has_begun = False
        self._to_look_at: list[int] = []
        """Groups that are looked at with the next ticks."""
        self._unfollowed: deque[Replica] = deque()
        """Leaders that sleep and may be left without a quorum."""
        self._replicas = replicas
        self._mark = mark
        self._randomizer = randomizer
        self._hints: dict[int, asyncio.TimerHandle] = {}
        self._transfers: dict[int, list[asyncio.Future[None]]] = {}
        self._handing_over: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Let the replicas that were stored here sleep until `begin`, or until an RPC comes."""
        if self._may_strand:
            for replica in self._replicas.values():
                replica.node.strand()
                self._mark(replica)

    def begin(self) -> None:
        """Let those campaign in turn that have no leader."""
        self._has_begun = True
        self._remember(self._replicas.values())

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
            if node.leader == replica_id:
                led.append((replica, hint_rank(replica, lost=replica_id)))
            node.report_connection_lost(replica_id, wakes=False)
            if node.is_leader and node.should_wake:
                self._unfollowed.append(replica)
            if node.leader == NO_REPLICA and not node.is_asleep:
                self._strand(replica)
        self._campaign(led)

    def broker_found(self, broker_id: int, *, was_silent: bool) -> None:
        """A broker is heard that was not: those that could do nothing without it may go on.

        Args:
            broker_id: the broker.
            was_silent: its connection had not broken, so that it is the process that it was.
        """
        missing = [
            (replica, replica_id)
            for replica in self._replicas.values()
            if replica.node.should_wake
            and not replica.faulty
            and (replica_id := replica.replica_on(broker_id)) != NO_REPLICA
        ]
        if was_silent:
            for replica, replica_id in missing:
                replica.node.report_found(replica_id)
        self._remember(replica for replica, _ in missing)

    def hurry(self, replica: Replica) -> None:
        """Let a group have its turn at once: somebody wants something of it."""
        turn = self._turns.pop(replica.group_id, None)
        if turn is not None:
            self._begin(turn, 0)

    def asked(self, replica: Replica, rpc: PreVote) -> None:
        """Let a replica campaign at once in place of a peer that asked it, but lacks what it has.

        That one has the earlier rank, and was a spare follower.
        """
        if not replica.node.log.is_up_to_date(rpc.last_index, rpc.last_term):
            hint = self._hints.get(replica.group_id)
            if hint is not None:
                hint.cancel()
                self._hint(replica, attempt=1)

    def tick(self) -> None:
        """Wake some of the leaders that are left without a quorum, to step down.

        And look whether somebody sleeps without a leader whose turn does not come: no time passes
        for it, so that nothing but this would find out.
        """
        self._look_for_forgotten()
        for _ in range(min(LEADERS_PER_TICK, len(self._unfollowed))):
            replica = self._unfollowed.popleft()
            if self._is_present(replica) and replica.is_leader and replica.node.should_wake:
                replica.node.wake()
                self._mark(replica)

    def _look_for_forgotten(self) -> None:
        """Look at the next `LOOKED_AT_PER_TICK` replicas."""
        if not self._to_look_at:
            self._to_look_at = list(self._replicas)
        some = self._to_look_at[-LOOKED_AT_PER_TICK:]
        del self._to_look_at[-LOOKED_AT_PER_TICK:]
        present = (self._replicas[one] for one in some if one in self._replicas)
        self._remember(filter(self._may_campaign, present))

    def _remember(self, replicas: Iterable[Replica]) -> None:
        """Let those of some replicas campaign in turn that sleep without a leader."""
        missing = [
            (replica, hint_rank(replica, lost=replica.node.leader))
            for replica in replicas
            if replica.node.should_wake
            and not replica.node.is_leader
            and replica.group_id not in self._turns
            and replica.group_id not in self._hints
        ]
        if missing:
            self._campaign(missing, wait_ms=FOUND_MS)

    def _campaign(self, lost: Sequence[tuple[Replica, int]], *, wait_ms: int = 0) -> None:
        """Let replicas campaign in the order of their ranks, as many at once as may.

        Args:
            lost: replicas whose leader is gone, and their ranks.
            wait_ms: before the first of them.
        """
        if not self._has_begun:
            return
        spread_ms = min(len(lost) * SPREAD_MS, self._spread_ms_max)
        now_s = asyncio.get_running_loop().time() + wait_ms / 1000
        turns = []
        for replica, rank in lost:
            turn_ms = turn_of(replica.group_id, spread_ms)
            turn = _Turn(replica, turn_ms, rank, now_s + rank * (RANK_MS + spread_ms) / 1000)
            if replica.is_asleep:
                turns.append(turn)
            else:
                self._begin(turn, wait_ms + turn_ms + rank * (RANK_MS + spread_ms))
        if turns:
            waiting = self._turns | {turn.replica.group_id: turn for turn in turns}
            self._turns = dict(sorted(waiting.items(), key=lambda one: _order(one[1])))
        self._go_on()

    def _go_on(self) -> None:
        """Let the next groups elect, where fewer than `AT_ONCE` do."""
        loop = asyncio.get_running_loop()
        while self._turns and len(self._hints) < AT_ONCE:
            group_id, turn = next(iter(self._turns.items()))
            wait_s = turn.due_s - loop.time()
            if wait_s > 0:
                if self._turns_timer is not None:
                    self._turns_timer.cancel()
                self._turns_timer = loop.call_later(wait_s, self._go_on)
                return
            del self._turns[group_id]
            self._begin(turn, 0)

    def _begin(self, turn: _Turn, delay_ms: int) -> None:
        """Have a replica campaign soon, if it still misses its leader."""
        replica = turn.replica
        if self._may_campaign(replica):
            self._schedule(replica, delay_ms + self._randomizer(0, JITTER_MS), attempt=1)

    def _is_present(self, replica: Replica) -> bool:
        return self._replicas.get(replica.group_id) is replica and not replica.faulty

    def _may_campaign(self, replica: Replica) -> bool:
        """Tell whether a replica is here and sound, hears no leader, and might be elected."""
        if not self._is_present(replica) or replica.is_leader or replica.hears_leader:
            return False
        return not self._may_strand or self._reaches_quorum(replica)

    def _reaches_quorum(self, replica: Replica) -> bool:
        """Tell whether so many of a replica's voters are heard that one could be elected."""
        membership = replica.node.membership
        heard = {
            voter.replica_id
            for voter in membership.voters
            if voter.replica_id == replica.spec.replica_id or self._hears(voter.broker_id)
        }
        return is_quorum(membership.voter_ids, heard)

    def leadership_changed(self, replica: Replica) -> None:
        """End the hints and transfers of a replica that has another leader now."""
        if replica.leader_broker_id:
            hint = self._hints.pop(replica.group_id, None)
            if hint is not None:
                hint.cancel()
                self._go_on()
        else:
            self._strand(replica)
        if not replica.is_leader and replica.leader_broker_id:
            for future in self._transfers.pop(replica.group_id, ()):
                if not future.done():
                    future.set_result(None)

    def _strand(self, replica: Replica) -> None:
        """Let a replica that has no leader sleep, unless a quorum of its voters is heard."""
        if self._may_strand and not self._reaches_quorum(replica):
            replica.node.strand()
            self._mark(replica)

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
        if self._turns_timer is not None:
            self._turns_timer.cancel()
        self._turns.clear()
        self._unfollowed.clear()
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
        if self._may_campaign(replica):
            replica.node.campaign_hint()
            self._mark(replica)
            if attempt < ATTEMPTS_MAX:
                self._schedule(replica, self._randomizer(*RETRY_MS), attempt=attempt + 1)
        self._go_on()


def _order(turn: _Turn) -> tuple[float, int]:
    """Return the key by which turns come.

    Those of a second rank begin at the other end than the first, so that two rarely ask at once.
    """
    return (turn.due_s, -turn.turn_ms if turn.rank else turn.turn_ms)


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
