"""Checkers of what may be said and made at all: silence of the faulty, replica ids, full disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from raft_app.core.types import RaftMember, Rpc
    from raft_app.storage.protocol import GroupSpec


class Silence(Checker):
    """Who is not to be trusted says nothing: a faulty replica, a broker whose disk failed."""

    def speaks(self, rpc: Rpc, reason: str) -> None:
        """An RPC leaves its sender.

        Args:
            rpc: what leaves.
            reason: why its sender is not to be trusted; empty when it is.
        """
        self.require(not reason, "%s leaves, although %s", rpc, reason)

    def reads(self, broker_id: int, reason: str) -> None:
        """A client gets messages from a replica; `reason` as for `speaks`."""
        self.require(not reason, "broker %s is read from, although %s", broker_id, reason)


class ReplicaIds(Checker):
    """A replica id belongs to one replica of one broker, for ever."""

    def __init__(self) -> None:
        self._created: dict[int, int] = {}
        self._present: dict[int, int] = {}
        self._named: dict[int, int] = {}

    def created(self, broker_id: int, spec: GroupSpec) -> None:
        """A replica was made on a broker, durably; or once more, while it is there."""
        if self._present.get(broker_id) == spec.replica_id:
            return
        self._present[broker_id] = spec.replica_id
        known = self._created.get(spec.replica_id)
        self.require(
            known is None, "%s is made on broker %s, and was on %s", spec, broker_id, known
        )
        self._created[spec.replica_id] = broker_id

    def deleted(self, broker_id: int) -> None:
        """A broker dropped its replica, durably."""
        self._present.pop(broker_id, None)

    def named(self, member: RaftMember) -> None:
        """A membership names a replica."""
        known = self._named.setdefault(member.replica_id, member.broker_id)
        self.require(known == member.broker_id, "%s was on broker %s", member, known)


class Admission(Checker):
    """What is refused on a full disk is refused before it is proposed."""

    def accepted(self, broker_id: int, *, is_full: bool) -> None:
        """A broker took a message in, `is_full` when it knew of too little space all the time."""
        self.require(not is_full, "broker %s takes messages although its disk is full", broker_id)
