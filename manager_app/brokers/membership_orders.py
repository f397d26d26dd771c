"""Changes of the members of Raft groups, ordered of leaders, and replicas dropped after them.

Many orders go out at once. A broker that was not reached gets its order again in the next round of
repairs: no call raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.structs import asdict

from http_base.cluster import MembersAnswer, PartitionDelete
from http_base.tasks import gather_bounded
from manager_app.brokers.client import BrokerCall
from myqueue.contract.answers import Done

if TYPE_CHECKING:
    from collections.abc import Iterable

    from http_base.cluster import ReplicaTarget
    from manager_app.brokers.client import BrokerContact

_A = TypeVar("_A", bound=msgspec.Struct)

CALLS_AT_ONCE = 16
"""Orders on their way at once, to all brokers together; a round has at most as many changes."""
CALL_TIMEOUT_S = 6.0
"""For one call; a leader takes 2 s at most to confirm by a quorum who its members are."""


@dataclass(frozen=True)
class MembershipOrder:
    """The replicas that the leader of a partition should bring about."""

    group_id: int
    leader: int
    """Broker id."""
    term: int
    """In which it leads, as last reported."""
    target: ReplicaTarget


@dataclass(frozen=True)
class DiscardOrder:
    """A replica that left its Raft group, for its broker to drop."""

    group_id: int
    replica_id: int
    broker_id: int


class MembershipOrders:
    """Sends changes of members to leaders; its coroutines belong to the manager's loop."""

    def __init__(self, brokers: BrokerContact) -> None:
        """Send orders through `brokers`, which has an open client of the same loop."""
        self._brokers = brokers

    async def ask_leaders(self, calls: Iterable[MembershipOrder]) -> dict[int, MembersAnswer]:
        """Give leaders their targets, then ask who the voters and learners of their groups are.

        Returns:
            The members by group id, of the groups whose leaders answered both calls.
        """
        silent: set[int] = set()
        asking = (self._ask_leader(call, silent) for call in calls)
        answers = await gather_bounded(asking, CALLS_AT_ONCE)
        return {answer.group_id: answer for answer in answers if answer is not None}

    async def discard(self, calls: Iterable[DiscardOrder], *, epoch: int) -> list[int]:
        """Let brokers drop replicas.

        Args:
            calls: which replicas.
            epoch: of the primary's lease; a broker that heard of a later one refuses.

        Returns:
            The ids of the replicas whose broker confirmed that it has them no longer.
        """
        calls = list(calls)
        silent: set[int] = set()
        discarding = (self._discard(call, epoch, silent) for call in calls)
        gone = await gather_bounded(discarding, CALLS_AT_ONCE)
        return [call.replica_id for call, is_gone in zip(calls, gone, strict=True) if is_gone]

    async def _ask_leader(self, call: MembershipOrder, silent: set[int]) -> MembersAnswer | None:
        path = f"/partitions/{call.group_id}/replicas"
        order = BrokerCall("POST", path, body=call.target)
        if await self._call(call.leader, order, Done, silent) is None:
            return None
        return await self._call(call.leader, BrokerCall("GET", path), MembersAnswer, silent)

    async def _discard(self, call: DiscardOrder, epoch: int, silent: set[int]) -> bool:
        order = BrokerCall(
            "DELETE",
            f"/partitions/{call.group_id}",
            query=asdict(PartitionDelete(epoch=epoch, replica_id=call.replica_id)),
        )
        return await self._call(call.broker_id, order, Done, silent) is not None

    async def _call(
        self, broker_id: int, call: BrokerCall, answer_type: type[_A], silent: set[int]
    ) -> _A | None:
        return await self._brokers.ask(
            broker_id, call, answer_type, timeout_s=CALL_TIMEOUT_S, silent=silent
        )
