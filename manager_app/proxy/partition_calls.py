"""Calls to the leader of a partition, through elections and lost brokers.

A call that failed before it was proposed is tried again within its time limit: NO_LEADER,
NOT_LEADER (at the leader that it names), a connection that could not be made. A call whose outcome
is unknown is tried again only if the broker recognises a repetition. From then on only a success
settles the outcome: a refusal of a later try does not tell what became of the first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from http_base.cluster_http import CallFailed, NotSent, OutcomeUnknown
from manager_app.brokers.client import BrokerCall, Silent
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
    from collections.abc import Mapping
    from types import TracebackType

    from manager_app.brokers.client import BrokerClient
    from manager_app.metadata import MetadataCopy, PartitionMetadata

_A = TypeVar("_A", bound=msgspec.Struct)

ELECTION_PAUSE = Backoff(first_s=0.03, longest_s=0.2)
"""Before the replicas are asked again for their leader; ends early when a leader is reported.
Elections take one to two seconds: a few tries a second find the new leader soon without a storm of
calls."""
PAUSE_MIN_S = 0.001
"""A pause has to end this much before the deadline: the loop's timers may be late."""
LAST_TRY_S = 0.05
LAST_TRY_SHARE = 10
"""With less time left than 50 ms, or a tenth of the whole limit, no try begins: its answer would
come too late, and its outcome be unknown."""
ANSWER_MS_MAX = 200
ANSWER_SHARE = 10
"""A leader is given a tenth less time than there is, at most 200 ms less: what it answers at the
end still arrives in time."""
HINTS_MAX = 3
"""NOT_LEADER answers that are followed to the leader they name without a pause; more of them are
replicas that disagree during an election."""


@dataclass(frozen=True)
class PartitionCall:
    """A call for the leader of one partition."""

    partition: PartitionMetadata
    method: str
    path: str
    fields: Mapping[str, Any]
    """Sent as body, or as query (GET, or beside `batch`); `timeout_ms` and `wait_ms` are added."""
    timeout_ms: int
    """For the whole call, retries included; `wait_ms` comes on top."""
    wait_ms: int = 0
    """How long the broker may hold the call (a long poll) until there are messages."""
    deadline_s: float | None = None
    """Loop time of an earlier deadline: that of the call that this one is part of."""
    repeatable: bool = False
    """True when the broker recognises a repetition, or the call only reads."""
    patient: bool = True
    """False: fail at once when the partition has no leader, instead of waiting for an election."""
    asks_silent: bool = True
    """False: fail at once where the broker to ask is silent, as in `BrokerCall`."""
    tells_timeout: bool = True
    """False: the broker's call has no field `timeout_ms`; the limit holds here alone."""
    accept: str = MSGPACK
    """Content type of the answer, as in `BrokerCall`."""
    batch: bytes = b""
    """A record batch, sent unchanged."""


@dataclass
class _Search:
    """The search for a leader so far, and whether a try may have taken effect."""

    target: int = 0
    """Broker id to ask next; 0: ask the replicas in turn."""
    position: int = 0
    hints: int = 0
    pauses: int = 0
    unreachable: set[int] = field(default_factory=set)
    outcome_unknown: bool = False
    """True once a write may have taken effect without an answer."""


def deadline_of(timeout_ms: int, wait_ms: int = 0) -> float:
    """Return the deadline, in loop time, of a call that begins now."""
    return asyncio.get_running_loop().time() + (timeout_ms + wait_ms) / 1000


class found_by:
    """Limit the look-ups in the database before a call can be passed on.

    Raises:
        DatabaseUnavailable: they took until the deadline.
    """

    __slots__ = ("_timeout",)

    def __init__(self, deadline_s: float) -> None:
        self._timeout = asyncio.timeout_at(deadline_s)

    async def __aenter__(self) -> None:
        """Begin."""
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; a time that is over is the database's."""
        over = error if isinstance(error, TimeoutError) else None
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            over = timeout
        if over is not None:
            raise DatabaseUnavailable(
                "the manager's database did not answer in time",
                retry_after_ms=retry_after.DATABASE_MS,
            ) from over


class PartitionCalls:
    """Finds leaders and calls them."""

    def __init__(self, metadata: MetadataCopy, broker_client: BrokerClient) -> None:
        """Make a caller.

        Args:
            metadata: the copy with the leaders, as last reported.
            broker_client: an open client of the same loop.
        """
        self._metadata = metadata
        self._broker_client = broker_client

    async def call(self, call: PartitionCall, answer_type: type[_A]) -> _A:
        """Return the leader's answer.

        Args:
            call: what to ask.
            answer_type: of a success.

        Raises:
            NoLeader: no leader was found in time.
            CommitTimeout: the outcome is unknown.
            QueueError: whatever else the leader answered. As with NoLeader the call had no effect,
                unless `outcome` is unknown.
        """
        deadline = deadline_of(call.timeout_ms, call.wait_ms)
        if call.deadline_s is not None:
            deadline = min(deadline, call.deadline_s)
        search = _Search(target=self._metadata.leader_of(call.partition.group_id).broker_id)
        try:
            return await self._ask_until(deadline, call, answer_type, search)
        except QueueError as error:
            # No refusal proves that an earlier try was lost: it may have been stored although the
            # producer is fenced now, or the batch too old to be recognised as a repetition.
            if search.outcome_unknown and error.outcome_known:
                raise with_unknown_outcome(error) from error
            raise

    async def _ask_until(
        self, deadline: float, call: PartitionCall, answer_type: type[_A], search: _Search
    ) -> _A:
        """Try one broker after another until the leader answers or the deadline has come."""
        failure: QueueError | None = None
        while True:
            broker_id = self._next_broker(call.partition, search)
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s < _last_try_s(call):
                raise failure or NoLeader(
                    f"no time is left to ask who leads {_named(call.partition)}"
                )
            try:
                return await self._try(call, answer_type, broker_id, left_s)
            except (CallFailed, QueueError) as error:
                search.outcome_unknown |= call.method != "GET" and _may_have_happened(error)
                failure, follow = self._judge(error, call, broker_id, search)
            if follow:
                continue
            if not call.patient:
                raise failure
            CALL_RETRIES.labels(failure.code).inc()
            await self._pause(call.partition, search, deadline - _last_try_s(call), failure)

    async def _try(
        self, call: PartitionCall, answer_type: type[_A], broker_id: int, left_s: float
    ) -> _A:
        """Call one broker within the time left."""
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
                asks_silent=call.asks_silent,
            ),
            answer_type,
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
            The error for when the time is over, and whether to ask the next broker at once.

        Raises:
            QueueError: another try would not help, or could take effect twice.
        """
        named = _named(call.partition)
        match error:
            case Silent():
                raise NoLeader(f"{named} has no leader: {error}") from error
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
                # The broker has no replica yet, or no leader: the partition is in the database.
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
        """Ask the leader that an answer names next; return whether to do so without a pause."""
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
        """Wait until a leader is reported, or for the pause of the next try.

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
