"""One run: a group in virtual time, first in trouble, then healed, then robbed of its leader."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from raft_app.core.rawnode import RawNode
from raft_app.core.types import Membership, RaftMember
from tests.raft_app.core.simulation.checker import Checker, Violation
from tests.raft_app.core.simulation.clients import Clients
from tests.raft_app.core.simulation.disk import Disk
from tests.raft_app.core.simulation.faults import Faults
from tests.raft_app.core.simulation.host import Host
from tests.raft_app.core.simulation.network import Network
from tests.raft_app.core.simulation.placement import Placement
from tests.raft_app.core.simulation.plan import (
    TICK,
    TURN_TICKS,
    Fault,
    Plan,
    calm,
    draw_plan,
    sleepy,
)
from tests.raft_app.core.simulation.trace import Trace
from tests.raft_app.core.simulation.transfers import Transfers
from tests.raft_app.core.simulation.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import InitialState, Rpc

STEPS = 6_000
"""Events until everything is healed, unless told otherwise."""

SETTLE_TIMEOUTS = 15
"""Election timeouts after healing until everybody must have caught up, and half a tick for each
entry: with the tiniest limits each travels alone and is read from the disk before."""

STABLE_TIMEOUTS = 4
"""Election timeouts for which the healed group must then keep its leader."""

FAILOVER_TIMEOUTS = 1
"""Election timeouts until a killed leader must be replaced, since its peers notice its death; where
they sleep, since their turn has come."""

CHANGED_TIMEOUTS = 4
"""The same in a group whose members changed: with six voters or four, of whom hardly more than a
quorum is left, a split vote is likely enough, and then those who voted wait for a whole timeout."""

RESTART_TIMEOUTS = 5
"""The same where its peers are no quorum and it must come back itself."""


class Liveness(Checker):
    """A healed group elects, serves, catches up and keeps its leader."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run without a violation did."""

    seed: int
    events: int
    elections: int
    sleeps: int
    """How often a node fell asleep."""
    strands: int
    """How often one did that knew no leader and heard no quorum."""
    crashes: int
    committed: int
    acknowledged: int
    reads: int
    changes: int
    """Changes of the membership that were committed."""
    snapshots: int
    """Snapshots that were put in place."""
    settle_ticks: float
    """From healing until everybody had caught up."""
    failover_ticks: float
    """From the death of the leader until its successor served."""


class SimulationFailure(AssertionError):
    """A run broke a rule.

    Attributes:
        seed: what reproduces it.
        checker: who saw it; "core" when the core itself raised.
        trace: the last events, oldest first.
    """

    def __init__(self, seed: int, checker: str, message: str, trace: list[str]) -> None:
        super().__init__(f"seed {seed}: {checker}: {message}")
        self.seed = seed
        self.checker = checker
        self.trace = trace


class Simulation:
    """A Raft group in virtual time.

    Args:
        seed: decides everything.
        node_count: nodes of the group; 0: as the seed decides, mostly 3 or 5.
        steps: events until everything is healed.
        faults: the kinds of faults, instead of those that the seed selects.
        changing: the membership changes and snapshots are taken, whatever the seed says.
        naps: groups sleep; None: as the seed decides, every other one.

    Attributes:
        now: virtual time in units of 1 / `TICK` ticks.
        hosts: the processes by replica id.
        faulty: whether things may still go wrong.
        placement: where the replicas should be.
        transfers: the snapshots on their way.
    """

    def __init__(
        self,
        seed: int,
        *,
        node_count: int = 0,
        steps: int = STEPS,
        faults: tuple[Fault, ...] = (),
        changing: bool = False,
        naps: bool | None = None,
    ) -> None:
        self.random = Random(seed)
        self.plan: Plan = draw_plan(
            seed, self.random, node_count=node_count, steps=steps, changing=changing
        )
        if faults:
            self.plan = replace(self.plan, faults=faults)
        if naps if naps is not None else seed % 2:
            self.plan = sleepy(self.plan, Random(seed))
        self.trace = Trace()
        self.now = 0
        self.faulty = True
        self.events = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled = 0
        self._liveness = Liveness()
        self.hosts: dict[int, Host] = {}
        self.watch = Watch(self.plan, self.hosts)
        self.clients = Clients(self)
        ids = range(1, self.plan.node_count + 1)
        self.transfers = Transfers(self)
        self.network = Network(self.plan, self.random, self.hosts.keys())
        members = tuple(RaftMember(number, number) for number in ids)
        voter_count = self.plan.node_count - self.plan.learner_count
        membership = Membership(members[:voter_count], members[voter_count:])
        for number in ids:
            self._make_host(number, membership)
        self.placement = Placement(self, membership.voter_ids)
        self.faults = Faults(self)
        self._cut_off: set[int] = set()

    def run(self) -> Outcome:
        """Run all phases.

        Raises:
            SimulationFailure: a rule was broken.
        """
        try:
            return self._run()
        except Violation as violation:
            raise self._failure(violation.checker, violation.message) from violation
        except Exception as error:
            raise self._failure("core", f"{type(error).__name__}: {error}") from error

    def _failure(self, checker: str, message: str) -> SimulationFailure:
        return SimulationFailure(self.plan.seed, checker, message, self.trace.lines(100))

    # --- what the parts use -------------------------------------------------------------

    def schedule(self, delay: int, action: Callable[..., None], *args: Any) -> None:
        """Call `action(*args)` after `delay` units."""
        self._scheduled += 1
        heapq.heappush(self._queue, (self.now + delay, self._scheduled, action, args))

    def send(self, rpc: Rpc) -> None:
        """Give an RPC to the network."""
        actions = (self._arrive, self._arrive_late)
        arrivals = self.network.arrivals(rpc.sender, rpc.to, self.now)
        for action, arrival in zip(actions, arrivals, strict=False):
            self.schedule(arrival - self.now, action, rpc)

    def send_signs(self, sender: int, life: int) -> None:
        """Give the signs of life of a process to the network."""
        for peer in self.hosts:
            if peer != sender:
                for arrival in islice(self.network.arrivals(sender, peer, self.now), 1):
                    self.schedule(arrival - self.now, self._sign_arrives, sender, peer, life)

    def _sign_arrives(self, sender: int, peer: int, life: int) -> None:
        if self.network.passes(sender, peer):
            self.hosts[peer].hear_sign(sender, life)

    def add_host(self) -> int:
        """Start the process of a new replica, which knows nothing; return its replica id."""
        replica_id = len(self.hosts) + 1
        host = self._make_host(replica_id, None)
        host.start()
        self.watch_cut_off()
        return replica_id

    def _make_host(self, replica_id: int, membership: Membership | None) -> Host:
        drift = self.random.randint(-self.plan.clock_drift, self.plan.clock_drift)
        disk = Disk(replica_id, membership, keeps_log_end=self.plan.keeps_log_end)
        self.hosts[replica_id] = Host(self, replica_id, disk, TICK + drift)
        return self.hosts[replica_id]

    def make_node(self, initial: InitialState) -> RawNode:
        """Return a new node."""
        return RawNode(self.plan.config, initial, randomizer=self.random.randrange)

    def note(self, what: str, value: object = "") -> None:
        """Note an event of no particular replica."""
        self.trace.note(self.now, 0, what, value)

    def watch_cut_off(self) -> None:
        """Links or processes changed: tell the checker who is cut off since now."""
        for replica_id, host in self.hosts.items():
            cut_off = host.alive and self.network.is_cut_off(replica_id)
            if not cut_off:
                self._cut_off.discard(replica_id)
                self.watch.cut_off.ends(replica_id)
            elif replica_id not in self._cut_off:
                self._cut_off.add(replica_id)
                self.watch.cut_off.begins(replica_id, host.node.term)

    def _arrive(self, rpc: Rpc) -> None:
        if self.network.passes(rpc.sender, rpc.to):
            self.hosts[rpc.to].deliver(rpc)

    def _arrive_late(self, rpc: Rpc) -> None:
        if self.faulty:
            self._arrive(rpc)

    # --- phases -------------------------------------------------------------------------

    def _run(self) -> Outcome:
        self._bootstrap()
        for _ in range(self.plan.steps):
            self._step()
        healed_at = self.now
        self._heal()
        self._wait(self._has_settled, self._settle_limit(), "everybody has caught up")
        settle_ticks = (self.now - healed_at) / TICK
        self._stay_stable()
        failover_ticks = self._fail_over()
        for host in self._members():
            self.watch.messages.finished(host.replica_id, host.service.ledger.values)
        return Outcome(
            seed=self.plan.seed,
            events=self.events,
            elections=self.watch.elections,
            sleeps=self.watch.sleeps_complete.sleeps,
            strands=self.watch.sleeps_stranded.strands,
            crashes=self.faults.crashes,
            committed=len(self.watch.committed_entries.entries),
            acknowledged=len(self.watch.messages.acknowledged_values),
            reads=self.clients.reads_answered,
            changes=self.watch.memberships.changes,
            snapshots=self.transfers.installed,
            settle_ticks=settle_ticks,
            failover_ticks=failover_ticks,
        )

    def _bootstrap(self) -> None:
        self.note("plan", self.plan)
        first, *others = self.hosts.values()
        first.start()
        first.campaign()
        for host in others:
            self.schedule(self.random.randrange(3 * TICK), self._start, host)
        self.clients.start()
        self.faults.start()
        self.placement.start()

    @staticmethod
    def _start(host: Host) -> None:
        if not host.alive:
            host.start()

    def _step(self) -> None:
        self.events += 1
        self.now, _, action, args = heapq.heappop(self._queue)
        action(*args)

    def _wait(self, condition: Callable[[], bool], ticks: int, what: str) -> None:
        """Run until `condition` holds, looked at once in half a tick."""
        limit = self.now + ticks * TICK
        while not condition():
            self._liveness.require(self.now < limit, "not within %s ticks: %s", ticks, what)
            self._advance(TICK // 2)

    def _settle_limit(self) -> int:
        entries = len(self.watch.committed_entries.entries) + len(self.clients.outstanding)
        return SETTLE_TIMEOUTS * self.plan.config.election_timeout_ticks + entries // 2

    def _advance(self, units: int) -> None:
        until = self.now + units
        while self._queue[0][0] <= until:
            self._step()
        self.now = until

    def _heal(self) -> None:
        self.note("heal")
        self.faulty = False
        self.plan = calm(self.plan)
        self.clients.writing = False
        self.faults.heal()

    def _has_settled(self) -> bool:
        leader = self._serving_leader()
        if leader is None or self.clients.outstanding:
            return False
        if not self.placement.is_reached(leader.node.membership):
            return False
        return all(
            host.awake
            and not host.waits_for_turn
            and host.service.ledger.applied_index == leader.node.last_index
            and not host.service.pending_reads
            and host.node.term == leader.node.term
            and host.node.is_asleep == leader.node.is_asleep
            for host in self._members()
        )

    def _members(self) -> list[Host]:
        members = self.watch.memberships.latest.members
        return [self.hosts[member.replica_id] for member in members]

    def _serving_leader(self) -> Host | None:
        serving = [host for host in self.hosts.values() if host.alive and host.node.serves]
        return max(serving, key=lambda host: host.node.term, default=None)

    def _stay_stable(self) -> None:
        leader = self._serving_leader()
        assert leader is not None
        term = leader.node.term
        self.clients.resting = self.plan.naps
        self._advance(STABLE_TIMEOUTS * self.plan.config.election_timeout_ticks * TICK)
        self._liveness.require(
            leader.node.serves and leader.node.term == term,
            "replica %s lost the leadership of term %s without any fault",
            leader.replica_id,
            term,
        )
        self._liveness.require(
            not self.plan.naps or all(host.node.is_asleep for host in self._members()),
            "somebody does not sleep, though nothing happens",
        )

    def _fail_over(self) -> float:
        leader = self._serving_leader()
        assert leader is not None
        killed_at = self.now
        self.note("kills leader", leader.replica_id)
        self.faults.kill(leader)
        self.clients.writing = True
        timeouts = CHANGED_TIMEOUTS if self.watch.memberships.changes else FAILOVER_TIMEOUTS
        if len(leader.node.membership.voters) < 3:
            self.faults.restart(leader)
            timeouts = RESTART_TIMEOUTS
        ticks = timeouts * self.plan.config.election_timeout_ticks
        if self.plan.naps:
            ticks += TURN_TICKS
        self._wait(
            lambda: self._serving_leader() is not None, ticks, "the killed leader is replaced"
        )
        failover_ticks = (self.now - killed_at) / TICK
        self.clients.resting = False
        self._advance(5 * TICK)
        self.faults.restart(leader)
        self.clients.writing = False
        self._wait(self._has_settled, self._settle_limit(), "the killed leader has caught up")
        return failover_ticks
