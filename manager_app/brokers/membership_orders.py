"""What a manager tells brokers about the members of their groups, many at once.

A broker that was not reached is asked again in the next round: nothing here fails as a whole.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from http_base.cluster import MembersAnswer
from http_base.tasks import bounded
from manager_app.brokers.client import BrokerCall
from myqueue.contract.inputs import prepare_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from http_base.cluster import ReplicaTarget
    from manager_app.brokers.client import BrokerContact

logger = logging.getLogger(__name__)

CALLS_AT_ONCE = 16
CALL_TIMEOUT_S = 6.0
"""For one call; a leader confirms its members within less."""


@dataclass(frozen=True)
class MembershipOrder:
    """A target for the leader of a partition."""

    group_id: int
    leader: int
    """Broker id."""
    term: int
    """In which it leads, as far as is known."""
    target: ReplicaTarget


@dataclass(frozen=True)
class DiscardOrder:
    """A replica that left, for its broker to drop."""

    group_id: int
    replica_id: int
    broker_id: int


class MembershipOrders:
    """Carries changes of replicas to brokers; its coroutines belong to the manager's loop."""

    def __init__(self, brokers: BrokerContact) -> None:
        """Take what it needs."""
        self._brokers = brokers

    async def ask_leaders(self, calls: Iterable[MembershipOrder]) -> dict[int, MembersAnswer]:
        """Give leaders their targets, then ask who belongs to their groups.

        Returns:
            The members by group id, as far as leaders confirmed them.
        """
        silent: set[int] = set()
        asking = (self._ask_leader(call, silent) for call in calls)
        answers = await bounded(asking, CALLS_AT_ONCE)
        return {answer.group_id: answer for answer in answers if answer is not None}

    async def discard(self, calls: Iterable[DiscardOrder], *, epoch: int) -> list[int]:
        """Let brokers drop replicas; return the ids of those that are not there any more."""
        calls = list(calls)
        silent: set[int] = set()
        discarding = (self._discard(call, epoch, silent) for call in calls)
        gone = await bounded(discarding, CALLS_AT_ONCE)
        return [call.replica_id for call, is_gone in zip(calls, gone, strict=True) if is_gone]

    async def _ask_leader(self, call: MembershipOrder, silent: set[int]) -> MembersAnswer | None:
        path = f"/partitions/{call.group_id}/replicas"
        body = msgspec.to_builtins(call.target)
        taken = await self._call(call.leader, BrokerCall("POST", path, body=body), silent)
        if taken is None:
            return None
        return _members(await self._call(call.leader, BrokerCall("GET", path), silent))

    async def _discard(self, call: DiscardOrder, epoch: int, silent: set[int]) -> bool:
        order = BrokerCall(
            "DELETE",
            f"/partitions/{call.group_id}",
            query={"epoch": epoch, "replica_id": call.replica_id},
        )
        return await self._call(call.broker_id, order, silent) is not None

    async def _call(
        self, broker_id: int, call: BrokerCall, silent: set[int]
    ) -> dict[str, Any] | None:
        return await self._brokers.ask(broker_id, call, timeout_s=CALL_TIMEOUT_S, silent=silent)


def _members(fields: dict[str, Any] | None) -> MembersAnswer | None:
    if fields is None:
        return None
    prepare_type(MembersAnswer)
    try:
        return msgspec.convert(fields, MembersAnswer)
    except msgspec.ValidationError as error:
        logger.warning("members that cannot be read: %s", error)
        return None
