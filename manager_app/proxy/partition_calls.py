"""Calls to the leader of a partition, through elections and lost brokers.

A call that was refused before it was proposed is tried again within its time limit: NO_LEADER,
NOT_LEADER (at the leader that it names), a connection that could not be made. A call whose outcome
is unknown is tried again only when a repetition is recognised; from then on only a success says
what became of it, whatever refuses the tries that follow.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from http_base.cluster_http import CallFailed, NotSent, OutcomeUnknown
from manager_app.brokers.client import BrokerCall
from manager_app.metrics import CALL_RETRIES
from myqueue.contract import retry_after
from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import (
    BrokerNotFound,
    CommitTimeout,
    DatabaseUnavailable,
    NoLeader,
    NotLeader,
    PartitionNotFound,
    QueueError,
    TopicDoesNotExist,
    with_unknown_outcome,
)
from myqueue.contract.inputs import MSGPACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from manager_app.brokers.client import BrokerClient
    from manager_app.metadata import MetadataCopy, PartitionMetadata

ELECTION_PAUSE = Backoff(first_s=0.03, longest_s=0.2)
"""Before asking again who leads; ends early when a leader is noted."""
PAUSE_MIN_S = 0.001
"""By which the loop's timers may be late."""
LAST_TRY_S = 0.05
LAST_TRY_SHARE = 10
"""With less time left than 50 ms, or a tenth of all of it, no try begins: nobody would hear what
became of it."""
ANSWER_MS_MAX = 200
ANSWER_SHARE = 10
"""A leader is given a tenth less time than there is, at most 200 ms less: what it answers at the
end still arrives in time."""
HINTS_MAX = 3
"""Leaders followed from answer to answer without a pause."""


@dataclass(frozen=True)
class PartitionCall:
    """A call for the leader of one partition."""

    partition: PartitionMetadata
    method: str
    path: str
    fields: Mapping[str, Any]
    """Sent as body, or as query (GET, or beside `batch`); `timeout_ms` and `wait_ms` are added."""
    timeout_ms: int
    """For everything, retries included, beyond `wait_ms`."""
    wait_ms: int = 0
    """How long the broker may hold the call until something is there."""
    deadline_s: float | None = None
    """Time of the loop at which it has to be over, when that is sooner: it is part of another."""
    repeatable: bool = False
    """True when the broker recognises a repetition, or the call changes nothing."""
    patient: bool = True
    """False: fail at once when the partition has no leader, instead of waiting for one."""
    tells_timeout: bool = True
    """False: the broker's call has no field `timeout_ms`; the limit holds here alone."""
    accept: str = MSGPACK
    """Content type of the answer, as in `BrokerCall`."""
    batch: bytes = b""
    """A record batch, passed on as it is."""


@dataclass
class _Search:
    """Where the leader was looked for so far, and what may have happened there."""

    target: int = 0
    """Broker id to ask next; 0: ask the replicas in turn."""
    position: int = 0
    hints: int = 0
    pauses: int = 0
    unreachable: set[int] = field(default_factory=set)
    outcome_unknown: bool = False
    """True once a try that changes something may have taken effect without an answer."""


def deadline_of(timeout_ms: int, wait_ms: int = 0) -> float:
    """Return the time of the loop at which a call that begins now has to be over."""
    return asyncio.get_running_loop().time() + (timeout_ms + wait_ms) / 1000


@asynccontextmanager
async def found_by(deadline_s: float) -> AsyncIterator[None]:
    """Limit what has to be looked up before a call can be passed on.

    Raises:
        DatabaseUnavailable: it was not found in time.
    """
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as error:
        raise DatabaseUnavailable(
            "the manager's database did not answer in time", retry_after_ms=retry_after.DATABASE_MS
        ) from error


class PartitionCalls:
    """Finds leaders and calls them."""

    def __init__(self, metadata: MetadataCopy, broker_client: BrokerClient) -> None:
        """Take what it needs.

        Args:
            metadata: says who leads, as far as it was reported.
            broker_client: an open client of the same loop.
        """
        self._metadata = metadata
        self._broker_client = broker_client

    async def call(self, call: PartitionCall) -> dict[str, Any]:
        """Return the leader's answer.

        Raises:
            NoLeader: no leader was found in time.
            CommitTimeout: the outcome is unknown.
            QueueError: whatever else the leader answered. As with NoLeader nothing happened, unless
                `outcome` is unknown.
        """
        deadline = deadline_of(call.timeout_ms, call.wait_ms)
        if call.deadline_s is not None:
            deadline = min(deadline, call.deadline_s)
        search = _Search(target=self._metadata.leader_of(call.partition.group_id).broker_id)
        try:
            return await self._ask_until(deadline, call, search)
        except QueueError as error:
            # No refusal proves that an earlier try was lost: also a fenced producer's batch, or one
            # that is out of order because it is too old to be remembered, may have been stored.
            if search.outcome_unknown and error.outcome_known:
                raise with_unknown_outcome(error) from error
            raise

    async def _ask_until(
        self, deadline: float, call: PartitionCall, search: _Search
    ) -> dict[str, Any]:
        """Try at one broker after another until the leader answered or the time is over."""
        while True:
            broker_id = self._next_broker(call.partition, search)
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s < _last_try_s(call):
                raise NoLeader(f"no time is left to ask who leads {_named(call.partition)}")
            try:
                return await self._try(call, broker_id, left_s)
            except (CallFailed, QueueError) as error:
                search.outcome_unknown |= call.method != "GET" and _may_have_happened(error)
                failure, follow = self._judge(error, call, broker_id, search)
            if follow:
                continue
            if not call.patient:
                raise failure
            CALL_RETRIES.labels(failure.code).inc()
            await self._pause(call.partition, search, deadline - _last_try_s(call), failure)

    async def _try(self, call: PartitionCall, broker_id: int, left_s: float) -> dict[str, Any]:
        """Call one broker within what is left of the time."""
        address = self._metadata.address_of(broker_id)
        if address is None:
            raise NotSent(f"broker {broker_id} is unknown")
        left_ms = max(1, int(left_s * 1000))
        timeout_ms = min(call.timeout_ms, left_ms)
        wait_ms = min(call.wait_ms, left_ms - timeout_ms)
        fields = dict(call.fields)
        if call.tells_timeout:
            fields["timeout_ms"] = timeout_ms - min(ANSWER_MS_MAX, timeout_ms // ANSWER_SHARE)
        if call.wait_ms:
            fields["wait_ms"] = wait_ms
        in_query = call.method == "GET" or bool(call.batch)
        return await self._broker_client.call(
            address,
            BrokerCall(
                call.method,
                call.path,
                query=fields if in_query else {},
                body=None if in_query else fields,
                batch=call.batch,
                wait_ms=wait_ms,
                accept=call.accept,
            ),
            timeout_s=left_ms / 1000,
        )

    def _judge(
        self,
        error: CallFailed | QueueError,
        call: PartitionCall,
        broker_id: int,
        search: _Search,
    ) -> tuple[QueueError, bool]:
        """Decide what follows from a failed try.

        Returns:
            What to say when the time is over, and whether to ask the next broker at once.

        Raises:
            QueueError: another try would not help, or could do the same thing twice.
        """
        named = _named(call.partition)
        match error:
            case NotSent():
                search.unreachable.add(broker_id)
                search.target = 0
                return NoLeader(f"{named} has no leader: {error}"), False
            case OutcomeUnknown():
                failure = CommitTimeout(f"it is unknown whether the call happened: {error}")
                if not call.repeatable:
                    raise failure from error
                return failure, False
            case NotLeader():
                follow = self._follow(error, search)
                return NoLeader(f"{named} has no leader at the moment"), follow
            case NoLeader() | PartitionNotFound() | TopicDoesNotExist():
                # The broker does not lead (yet): the manager knows that the partition exists.
                search.target = 0
                return NoLeader(f"{named} has no leader: {error.message}"), False
            case CommitTimeout() if call.repeatable:
                return error, False
        raise error

    def _next_broker(self, partition: PartitionMetadata, search: _Search) -> int:
        """Return the broker to ask: the presumed leader, else the replicas in turn."""
        if search.target and search.target not in search.unreachable:
            return search.target
        if not partition.replicas:
            raise BrokerNotFound(f"{_named(partition)} has no replicas")
        for _ in partition.replicas:
            broker_id = partition.replicas[search.position % len(partition.replicas)]
            search.position += 1
            if broker_id not in search.unreachable:
                return broker_id
        search.unreachable.clear()
        return broker_id

    def _follow(self, error: NotLeader, search: _Search) -> bool:
        """Aim at the leader that an answer names; return whether to ask it without a pause."""
        leader = error.details.get("leader")
        named = leader.get("broker_id") if isinstance(leader, dict) else None
        if not isinstance(named, int) or named in search.unreachable:
            search.target = 0
            return False
        search.target = named
        search.hints += 1
        return search.hints <= HINTS_MAX

    async def _pause(
        self, partition: PartitionMetadata, search: _Search, deadline: float, failure: QueueError
    ) -> None:
        """Wait until a leader is noted or a little time passed.

        Raises:
            QueueError: `failure`, when the time is over.
        """
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= PAUSE_MIN_S:
            raise failure
        before = self._metadata.leader_of(partition.group_id)
        pause_s = min(ELECTION_PAUSE.pause_s(search.pauses), left_s - PAUSE_MIN_S)
        search.pauses += 1
        search.hints = 0
        noted = await self._metadata.wait_until(
            lambda: self._metadata.leader_of(partition.group_id) != before, pause_s
        )
        if noted:
            search.target = self._metadata.leader_of(partition.group_id).broker_id
            search.unreachable.clear()


def _last_try_s(call: PartitionCall) -> float:
    """Return how much time a try needs at least, in seconds."""
    return min(LAST_TRY_S, call.timeout_ms / 1000 / LAST_TRY_SHARE)


def _may_have_happened(error: CallFailed | QueueError) -> bool:
    return isinstance(error, OutcomeUnknown) or (
        isinstance(error, QueueError) and not error.outcome_known
    )


def _named(partition: PartitionMetadata) -> str:
    return f"partition {partition.index} of topic {partition.topic!r}"
