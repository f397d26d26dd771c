"""Dead letters: messages that were delivered too often go to another topic.

One task per broker copies the dead messages of the partitions led here and then lets the partition
forget them. A copy whose confirmation was lost is made again under the same request id, which the
dead-letter topic's partition recognises: it is one message.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from broker_app.log_reading import messages_read
from broker_app.partition.commands import DeadCopied, ExpireWork
from broker_app.partition.limits import PRODUCE_REQUESTS_REMEMBERED
from broker_app.runtime import state_of
from http_base.tasks import spawn
from myqueue.contract import retry_after
from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import (
    MessageTooLarge,
    NoLeader,
    NotLeader,
    QueueError,
    TopicDoesNotExist,
)
from myqueue.contract.group_inputs import DEAD_LETTER_SUFFIX
from myqueue.contract.inputs import MAX_FETCH_BYTES
from myqueue.contract.records import MAX_STORED_HEADERS, Record, encode_batch, request_digest

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

DEAD_LETTER_PRODUCERS = 1 << 62
"""Added to a partition's group id: the producer id of its copies. Managers never give these."""
COPIES_MAX = 32
"""Copies before the partition is told, fewer than the request ids that are remembered."""
assert COPIES_MAX < PRODUCE_REQUESTS_REMEMBERED
TIMEOUT_MS = 2_000
"""For one copy and for one command."""
GATHER_SECONDS = 0.05
"""Pause between rounds: what dies meanwhile is handled in one."""
REFUSAL_PAUSE = Backoff(first_s=0.2, longest_s=10.0)
"""Before a dead-letter topic that refused is tried again."""


class _Refusals(NamedTuple):
    until: float
    """Loop time at which the topic is tried again."""
    failures: int
    """In a row."""


_NONE = _Refusals(0.0, 0)


class DeadLetterCopier:
    """Copies dead messages; lives in the engine's loop."""

    def __init__(self, runtime: BrokerRuntime) -> None:
        """Work for a broker; nothing happens before `run`.

        Args:
            runtime: of this broker; its index of dead messages says where work is.
        """
        self._runtime = runtime
        self._leaders: dict[str, list[str | None]] = {}
        """Dead-letter topic -> address of each partition's leader, as it was last told."""
        self._refusals: dict[str, _Refusals] = {}
        """By dead-letter topic."""

    async def run(self) -> None:
        """Copy what is dead whenever there is something, until this is cancelled."""
        index, loop = self._runtime.groups_with_dead, asyncio.get_running_loop()
        while True:
            index.news.clear()
            try:
                again_at = await self.round()
            except Exception:
                logger.exception("Copying dead messages broke off; it is tried again")
                again_at = loop.time() + REFUSAL_PAUSE.longest_s
            try:
                async with asyncio.timeout_at(again_at):
                    await index.news.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(GATHER_SECONDS)

    async def round(self) -> float | None:
        """Do what there is to do in the partitions led here.

        Returns:
            Loop time at which there will be more, None when only news can tell.
        """
        engine, index = self._runtime.engine, self._runtime.groups_with_dead
        times: list[float] = []
        for group_id in index.group_ids():
            replica = engine.replicas.get(group_id)
            if replica is None:
                index.note(group_id, may_have_dead=False)
                continue
            if replica.serves:
                works = state_of(replica).works
                times += [await self._expire(replica, name) for name in works.with_last_chances]
                times += [await self._copy_some(replica, name) for name in works.with_dead]
        return min(times, default=None)

    async def _expire(self, replica: Replica, name: str) -> float:
        """Let messages be dead whose last time is over; return when to look again."""
        engine, state = self._runtime.engine, state_of(replica)
        now = asyncio.get_running_loop().time()
        work = state.works.get(name)
        clock_ms = state.partition_clock(engine.clock_ms())
        dies_at = work.dies_at(clock_ms) if work is not None else None
        if dies_at is None:
            return now
        if dies_at > clock_ms:
            return now + (dies_at - clock_ms) / 1000
        try:
            await engine.propose(replica.spec.group_id, ExpireWork(name), timeout_ms=TIMEOUT_MS)
        except QueueError as error:
            logger.info("%s: messages of group '%s' expire later: %s", replica.label, name, error)
            return now + REFUSAL_PAUSE.first_s
        return now

    async def _copy_some(self, replica: Replica, name: str) -> float:
        """Copy some of a group's dead messages; return when to look again."""
        work, loop = state_of(replica).works.get(name), asyncio.get_running_loop()
        if work is None:
            return loop.time()
        topic = work.dead_letter_topic or replica.spec.topic + DEAD_LETTER_SUFFIX
        refusals = self._refusals.get(topic, _NONE)
        if loop.time() < refusals.until:
            return refusals.until
        copied: list[int] = []
        try:
            try:
                await self._copy(replica, name, topic, copied)
            finally:
                if copied and replica.serves:
                    command = DeadCopied(name, work.origin, copied)
                    await self._runtime.engine.propose(
                        replica.spec.group_id, command, timeout_ms=TIMEOUT_MS
                    )
        except QueueError as error:
            pause = REFUSAL_PAUSE.pause_s(refusals.failures)
            until = loop.time() + pause
            self._refusals[topic] = _Refusals(until, refusals.failures + 1)
            logger.warning(
                "%s: dead messages of group '%s' cannot go to topic '%s' yet, again in %.1f s: %s",
                *(replica.label, name, topic, pause, error),
            )
            return until
        self._refusals.pop(topic, None)
        return loop.time()

    async def _copy(self, replica: Replica, name: str, topic: str, copied: list[int]) -> None:
        """Copy dead messages and append their offsets to `copied`.

        Raises:
            QueueError: the next one cannot be copied at the moment.
        """
        work = state_of(replica).works.get(name)
        for offset in sorted(work.dead if work is not None else ())[:COPIES_MAX]:
            deliveries = work.dead.get(offset) if work is not None else None
            if deliveries is None or not replica.serves:
                return
            letter = await self._letter(replica, name, offset=offset, deliveries=deliveries)
            if letter:
                await self._post(replica, topic, letter)
                self._runtime.traffic[replica.spec.topic].dead_letters += 1
            copied.append(offset)

    async def _letter(self, replica: Replica, name: str, *, offset: int, deliveries: int) -> bytes:
        """Return the copy of a dead message; empty when there can be none, which the log is told.

        Raises:
            QueueError: it cannot be read at the moment.
        """
        read = await messages_read(
            runtime=self._runtime,
            replica=replica,
            start=offset,
            end=offset + 1,
            max_messages=1,
            max_bytes=MAX_FETCH_BYTES,
        )
        if not read.messages:
            logger.error("%s: dead message %d is lost: it is corrupt", replica.label, offset)
            return b""
        [(_, record)] = read.messages
        try:
            return make_letter(record, replica, name, offset=offset, deliveries=deliveries)
        except MessageTooLarge as error:
            logger.error("%s: dead message %d gets no copy: %s", replica.label, offset, error)
            return b""

    async def _post(self, replica: Replica, topic: str, letter: bytes) -> None:
        """Append a copy at the leader of its partition."""
        leaders = self._leaders.get(topic)
        if leaders is None:
            leaders = self._leaders[topic] = await self._find(replica, topic)
        partition = replica.spec.partition % len(leaders)
        address = leaders[partition]
        query = {
            "topic": topic,
            "partition": str(partition),
            "producer_id": str(DEAD_LETTER_PRODUCERS + replica.spec.group_id),
            "timeout_ms": str(TIMEOUT_MS),
        }
        try:
            if address is None:
                raise NoLeader(
                    f"partition {partition} of topic '{topic}' has no leader",
                    retry_after_ms=retry_after.PARTITION_MS,
                )
            await self._runtime.peers.produce(address, letter, query)
        except QueueError as error:
            named = error.details.get("leader") if isinstance(error, NotLeader) else None
            if isinstance(named, dict) and named.get("address"):
                leaders[partition] = named["address"]
            else:
                del self._leaders[topic]
            raise

    async def _find(self, replica: Replica, topic: str) -> list[str | None]:
        """Ask a manager who leads a dead-letter topic; make the topic if it is not there.

        It gets as many partitions as the topic of the messages, with as many replicas as this one.
        """
        link = self._runtime.link
        try:
            leaders = await link.topic_leaders(topic)
        except TopicDoesNotExist:
            partitions = len(await link.topic_leaders(replica.spec.topic))
            replicas = len(replica.node.membership.voters)
            await link.topic_create(topic, partitions, replicas)
            leaders = await link.topic_leaders(topic)
        if not leaders:
            raise NoLeader(
                f"topic '{topic}' has no partitions", retry_after_ms=retry_after.PARTITION_MS
            )
        return leaders


def make_letter(
    record: Record, replica: Replica, name: str, *, offset: int, deliveries: int
) -> bytes:
    """Encode the copy of a dead message.

    Args:
        record: the message.
        replica: its partition.
        name: of the consumer group whose workers did not settle it.
        offset: of the message.
        deliveries: how often it was delivered.

    Returns:
        A batch of one message, recognised by a request id made of group and offset.

    Raises:
        MessageTooLarge: with what is added it is over a limit of a batch.
    """
    headers: dict[str, str | bytes] = {
        **(record.headers or {}),
        "dead-letter-topic": replica.spec.topic,
        "dead-letter-partition": str(replica.spec.partition),
        "dead-letter-offset": str(offset),
        "dead-letter-group": name,
        "dead-letter-deliveries": str(deliveries),
    }
    if len(headers) > MAX_STORED_HEADERS:
        raise MessageTooLarge(f"a dead letter has at most {MAX_STORED_HEADERS} headers")
    return encode_batch(
        [record._replace(headers=headers)],
        producer_id=DEAD_LETTER_PRODUCERS + replica.spec.group_id,
        request_digest=request_digest(f"dead:{name}:{offset}"),
    )


def dead_letters_start(runtime: BrokerRuntime) -> None:
    """Begin to copy dead messages, until the runtime stops."""
    assert runtime.copying_dead is None, "it was begun before"
    runtime.copying_dead = spawn("copying dead messages", DeadLetterCopier(runtime).run())
