"""Where the replicas should be, and who sees to it: new targets, and a leader's next step there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.kept import Found
from raft_app.core.types import NO_REPLICA, AddLearner, Promote, RaftMember, Remove
from tests.raft_app.core.simulation.plan import TICK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.core.types import Membership, MembershipChange
    from tests.raft_app.core.simulation.disk import Copy
    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.simulation import Simulation

VOTERS_MAX = 6
"""Members of the largest target."""

REPLICAS_MAX = 14
"""Replica ids given out in one run, the first members included."""


class Placement:
    """The members that the group should have, approached step by step.

    Any step may be interrupted, and the target may change in the middle of the way: every step is
    found from the membership in force on some leader and the target alone.

    Attributes:
        target: replica ids of the voters that there should be, once it was ever changed.
        lost: a member whose disk is gone for good, until it is replaced; else `NO_REPLICA`.
    """

    def __init__(self, simulation: Simulation, first: Iterable[int]) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._version = 0
        self._is_changed = False
        self._resumes_at = 0
        self.target = set(first)
        self.lost = NO_REPLICA

    def start(self) -> None:
        """Begin; goes on by itself."""
        self._simulation.schedule(self._random.randrange(1, 4 * TICK), self._reconcile)

    def is_reached(self, membership: Membership) -> bool:
        """Tell whether nothing is left to do."""
        if not self._is_changed:
            return True
        return membership.voter_ids == self.target and not membership.learners

    # --- new targets --------------------------------------------------------------------

    def grow(self) -> None:
        """One more replica is wanted."""
        if len(self.target) < VOTERS_MAX and self._may_add():
            self._retarget(self.target | {self._new_replica()})

    def shrink(self) -> None:
        """One replica less is wanted."""
        if len(self.target) > 1 and self.lost == NO_REPLICA:
            self._retarget(self.target - {self._random.choice(sorted(self.target))})

    def replace(self) -> None:
        """A new replica is wanted in place of another."""
        if self._may_add():
            self._replace(self._random.choice(sorted(self.target)))

    def lose_disk(self) -> None:
        """A voter's disk is gone; it never comes back, and a new replica is to take its place."""
        hosts = self._dispensable()
        if hosts:
            host = self._random.choice(hosts)
            self._simulation.note("loses its disk", host.replica_id)
            self._lose(host)
            host.is_gone = True

    def roll_back(self, host: Host, copy: Copy) -> bool:
        """A voter's disk is put back to an earlier state, of which it is known that it is older.

        Returns:
            False when the others cannot do without it, or nobody knows.
        """
        last = copy.log.last_index
        found = Found(copy.hard_state.term, last, copy.log.term_at(last) or 0)
        if not found.lacks(host.kept) or host not in self._dispensable():
            return False
        self._simulation.note("is rolled back", host.replica_id)
        self._lose(host)
        host.disk.put_back(copy)
        return True

    def _dispensable(self) -> list[Host]:
        """Return the voters, if the others can do without any of them, as far as a group knows."""
        voters = self._simulation.watch.memberships.latest.voter_ids
        hosts = [self._simulation.hosts[voter] for voter in sorted(voters)]
        if self.lost != NO_REPLICA or len(voters) < 3 or not self._may_add():
            return []
        needed = max((host.node.first_index for host in self._alive()), default=1) - 1
        for host in hosts:
            if not host.alive or host.node.membership.voter_ids != voters:
                return []
            if host.node.is_installing or host.node.applied_index < needed:
                return []
        if any(each.node.membership.voter_ids != voters for each in self._alive()):
            return []
        return hosts

    def _lose(self, host: Host) -> None:
        """A replica is lost: another is to take its place."""
        self.lost = host.replica_id
        self._simulation.faults.kill(host)
        timeout = self._simulation.plan.config.election_timeout_ticks * TICK
        self._resumes_at = self._simulation.now + 5 * timeout
        if self.lost in self.target:
            self._replace(self.lost)
        else:
            self._retarget(self.target)

    def meddle(self) -> None:
        """Somebody asks a leader for any change at all, with any version."""
        leaders = self._leaders()
        if not leaders or self.lost != NO_REPLICA:
            return
        leader = self._random.choice(leaders)
        members = [member.replica_id for member in leader.node.membership.members]
        one = self._random.choice(members)
        changes: list[MembershipChange] = [Promote(one), Remove(one)]
        if self._may_add() and self._random.random() < 0.3:
            changes = [AddLearner(self._member(self._new_replica()))]
        version = self._random.choice((self._version, self._version, 0))
        self._is_changed = True
        for change in changes:
            leader.change_membership(change, version)

    def _may_add(self) -> bool:
        return len(self._simulation.hosts) < REPLICAS_MAX

    def _new_replica(self) -> int:
        return self._simulation.add_host()

    def _replace(self, replica_id: int) -> None:
        self._retarget(self.target - {replica_id} | {self._new_replica()})

    def _retarget(self, target: set[int]) -> None:
        self._is_changed = True
        self._version += 1
        self.target = set(target)
        self._simulation.note("target", (self._version, sorted(target)))

    # --- steps --------------------------------------------------------------------------

    def _reconcile(self) -> None:
        self._simulation.schedule(self._random.randrange(1, 4 * TICK), self._reconcile)
        memberships = self._simulation.watch.memberships
        removed = memberships.members - {each.replica_id for each in memberships.latest.members}
        if self.lost in removed:
            self.lost = NO_REPLICA
        for replica_id in sorted(self.target & removed):
            self._replace(replica_id)  # Somebody meddled, and replica ids are never used again.
        if not self._is_changed or self._simulation.now < self._resumes_at:
            return
        for leader in self._leaders():
            leader.request(self._step, leader)

    def _step(self, leader: Host) -> None:
        membership = leader.node.membership
        if not leader.node.is_leader or self.is_reached(membership):
            return
        steps = self._steps(membership)
        change = steps[0] if self._random.random() < 0.7 else self._random.choice(steps)
        if change == Remove(leader.replica_id):
            others = sorted(membership.voter_ids & self.target - {leader.replica_id})
            if others:
                leader.transfer(self._random.choice(others))
            return
        leader.change_membership(change, self._version)

    def _steps(self, membership: Membership) -> list[MembershipChange]:
        """Return what is left to do, in the order in which it is best done."""
        ids = {member.replica_id for member in membership.members}
        learners = [member.replica_id for member in membership.learners]
        steps: list[MembershipChange] = [
            Promote(learner) for learner in learners if learner in self.target
        ]
        steps += [AddLearner(self._member(new)) for new in sorted(self.target - ids)]
        steps += [Remove(old) for old in sorted(ids - self.target)]
        return steps

    @staticmethod
    def _member(replica_id: int) -> RaftMember:
        return RaftMember(replica_id, replica_id)

    def _alive(self) -> list[Host]:
        return [host for host in self._simulation.hosts.values() if host.alive]

    def _leaders(self) -> list[Host]:
        return [host for host in self._alive() if host.node.is_leader]
