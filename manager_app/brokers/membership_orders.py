"""What a manager tells brokers about the members of their groups, many at once.

A broker that was not reached is asked again in the next round: nothing here fails as a whole.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from http_base.cluster import MembersAnswer
from manager_app.brokers.client import BrokerCall, BrokerConnectionError, is_silent
from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from http_base.cluster import ReplicaTarget
    from manager_app.brokers.client import BrokerClient
    from manager_app.metadata import MetadataCopy

logger = logging.getLogger(__name__)

CALLS_AT_ONCE = 16
CALL_TIMEOUT_S = 6.0
"""For one call; a leader confirms its members within less."""


@dataclass(frozen=True)
class LeaderCall:
    """A target for the leader of a partition."""

    group_id: int
    leader: int
    """Broker id."""
    term: int
    """In which it leads, as far as is known."""
    target: ReplicaTarget


@dataclass(frozen=True)
class DiscardCall:
    """A replica that left, for its broker to drop."""

    group_id: int
    replica_id: int
    broker_id: int


@dataclass
class _Round:
    """What the calls of one round share."""

    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CALLS_AT_ONCE))
    silent: set[int] = field(default_factory=set)
    """Brokers that did not answer: they are asked no more, and hold the others up once."""


class ReplicaCalls:
    """Carries changes of replicas to brokers; its coroutines belong to the manager's loop."""

    def __init__(self, metadata: MetadataCopy, broker_client: BrokerClient) -> None:
        """Take what it needs."""
        self._metadata = metadata
        self._broker_client = broker_client

    async def ask_leaders(self, calls: Iterable[LeaderCall]) -> dict[int, MembersAnswer]:
        """Give leaders their targets, then ask who belongs to their groups.

        Returns:
            The members by group id, as far as leaders confirmed them.
        """
        calls = list(calls)
        round_ = _Round()
        answers = await asyncio.gather(*(self._ask_leader(call, round_) for call in calls))
        return {answer.group_id: answer for answer in answers if answer is not None}

    async def discard(self, calls: Iterable[DiscardCall], *, epoch: int) -> list[int]:
        """Let brokers drop replicas; return the ids of those that are not there any more."""
        calls = list(calls)
        round_ = _Round()
        gone = await asyncio.gather(*(self._discard(call, epoch, round_) for call in calls))
        return [call.replica_id for call, is_gone in zip(calls, gone, strict=True) if is_gone]

    async def _ask_leader(self, call: LeaderCall, round_: _Round) -> MembersAnswer | None:
        path = f"/partitions/{call.group_id}/replicas"
        body = msgspec.to_builtins(call.target)
        async with round_.gate:
            taken = await self._call(call.leader, BrokerCall("POST", path, body=body), round_)
            if taken is None:
                return None
            fields = await self._call(call.leader, BrokerCall("GET", path), round_)
        return _members(fields)

    async def _discard(self, call: DiscardCall, epoch: int, round_: _Round) -> bool:
        order = BrokerCall(
            "DELETE",
            f"/partitions/{call.group_id}",
            query={"epoch": epoch, "replica_id": call.replica_id},
        )
        async with round_.gate:
            return await self._call(call.broker_id, order, round_) is not None

    async def _call(
        self, broker_id: int, call: BrokerCall, round_: _Round
    ) -> dict[str, Any] | None:
        address = self._metadata.address_of(broker_id)
        if address is None or broker_id in round_.silent:
            return None
        try:
            return await self._broker_client.call(address, call, timeout_s=CALL_TIMEOUT_S)
        except (QueueError, BrokerConnectionError) as error:
            if is_silent(error):
                round_.silent.add(broker_id)
            logger.info(
                "broker %d did not take %s %s: %s", broker_id, call.method, call.path, error
            )
            return None


def _members(fields: dict[str, Any] | None) -> MembersAnswer | None:
    if fields is None:
        return None
    try:
        return msgspec.convert(fields, MembersAnswer)
    except msgspec.ValidationError as error:
        logger.warning("members that cannot be read: %s", error)
        return None
