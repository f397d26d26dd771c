"""The calls of queue workers in memory.

Deliveries, redeliveries and dead letters are decided by `myqueue.contract.rules.work`, as in a
broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import InvalidRequest, QueueError
from myqueue.contract.group_inputs import (
    DEAD_LETTER_SUFFIX,
    DEFAULT_VISIBILITY_MS,
    Receive,
    ReceiveSeveral,
    Settle,
    check_group_name,
)
from myqueue.contract.inputs import read_input
from myqueue.contract.records import Record, encode_batch
from myqueue.contract.rules.work import (
    UNKNOWN,
    UNSETTLED_MAX,
    Receipt,
    SettleKind,
    format_receipt,
    parse_receipts,
)
from myqueue.testing.state import decoded

if TYPE_CHECKING:
    from myqueue.contract.http1 import Request
    from myqueue.contract.rules.work import Choice, Work
    from myqueue.testing.partition import MemoryPartition
    from myqueue.testing.state import MemoryState

START_LATEST = "latest"


class MemoryWorkers:
    """The calls of queue workers at the brokers; a group has either workers or members.

    Args:
        state: that the brokers share.
    """

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def held_ms(self, address: str, request: Request) -> int:
        """Return how many milliseconds a receive call is held; 0: answer it at once."""
        if "partitions" in decoded(request):
            return min(self._held_ms(address, *part) for part in self._looks(request))
        return self._held_ms(address, request, read_input(Receive, decoded(request)))

    def _looks(self, request: Request) -> list[tuple[Request, Receive]]:
        """Return a look at several partitions as what it looks at each of them, and for whom."""
        call = read_input(ReceiveSeveral, decoded(request))
        return [
            (
                request._replace(token=call.tokens.get(one.topic, call.token or request.token)),
                Receive(
                    topic=one.topic,
                    partition=one.partition,
                    group=call.group,
                    max_messages=0,
                    wait_ms=call.wait_ms,
                ),
            )
            for one in call.partitions
        ]

    def _held_ms(self, address: str, request: Request, call: Receive) -> int:
        partition, client_id = self._admit(address, request, call)
        if call.start == START_LATEST:
            work = partition.begin_work(call.group, start=call.start, client_id=client_id)
        else:
            work = partition.work_of(call.group, start=call.start)
        now_ms = self._state.now_ms()
        if not self._choose(work, partition, max_messages=1).is_empty:
            return 0
        changes = [
            at for at in (work.comes_back_at(now_ms), work.dies_at(now_ms)) if at is not None
        ]
        return max(0, min([call.wait_ms, *(at - now_ms for at in changes)]))

    def receive(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `POST /messages/receive`: deliver messages to a worker."""
        if "partitions" in decoded(request):
            return {"partitions": self._waiting(address, request)}
        call = read_input(Receive, decoded(request))
        partition, client_id = self._admit(address, request, call)
        named = {"topic": call.topic, "partition": call.partition, "group": call.group}
        if not call.max_messages and call.start != START_LATEST:
            partition.work_of(call.group, start=call.start)
            return {**named, "messages": [], "missed": 0, "corrupt": 0}
        work = partition.begin_work(call.group, start=call.start, client_id=client_id)
        work.configure(call.delivery_limit, call.dead_letter_topic or "")
        choice, corrupt = self._readable(work, partition, max_messages=call.max_messages)
        delivered = work.receive(
            choice,
            self._state.now_ms(),
            end=len(partition.records),
            visibility_ms=call.visibility_ms,
        )
        messages = []
        for offset, number in delivered:
            record = partition.records[offset]
            assert record is not None, "it was chosen as one that can be decoded"
            messages.append(
                {
                    "offset": offset,
                    "timestamp": record.timestamp,
                    "key": record.key,
                    "message": record.value,
                    "headers": record.headers,
                    "receipt": format_receipt(Receipt(work.origin, offset, number)),
                    "delivery_count": number,
                }
            )
        return {**named, "messages": messages, "missed": 0, "corrupt": corrupt}

    def settle(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `POST /messages/ack`, `/messages/nack` and `/messages/extend`: settle receipts."""
        call = read_input(Settle, decoded(request))
        self._state.authorize_reader(request, call.topic)
        check_group_name(call.group)
        try:
            receipts = parse_receipts(call.receipts)
        except ValueError as error:
            raise InvalidRequest(f"{str(error)[:80]!r} is no receipt", field="receipts") from error
        partition = self._state.partition_at(address, call.topic, call.partition)
        work = partition.works.get(call.group)
        kind = SettleKind(request.path.rpartition("/")[2])
        outcomes = [UNKNOWN] * len(receipts)
        if work is not None:
            now_ms, delay_ms = self._state.now_ms(), _delay_ms(kind, call)
            outcomes = work.settle(kind, receipts, now_ms, delay_ms=delay_ms)
        self.copy_dead()
        results = [
            {"receipt": receipt, "done": outcome.done}
            | ({"reason": outcome.reason} if outcome.reason else {})
            for receipt, outcome in zip(call.receipts, outcomes, strict=True)
        ]
        return {"results": results}

    def copy_dead(self) -> None:
        """Copy every dead message to its dead-letter topic, which is made when it is missing."""
        for topic, partitions in list(self._state.topics.items()):
            for index, partition in enumerate(partitions):
                for group, work in partition.works.items():
                    work.expire(self._state.now_ms())
                    if work.dead:
                        self._copy_dead_of((topic, index), group, work)

    def _copy_dead_of(self, where: tuple[str, int], group: str, work: Work) -> None:
        topic, index = where
        partitions = self._state.topics[topic]
        name = work.dead_letter_topic or topic + DEAD_LETTER_SUFFIX
        letters = self._state.topics.get(name) or self._state.create(name, len(partitions))
        for offset, number in sorted(work.dead.items()):
            record = partitions[index].records[offset]
            assert record is not None, "it was delivered"
            origin: dict[str, str | bytes] = {
                "dead-letter-topic": topic,
                "dead-letter-partition": str(index),
                "dead-letter-offset": str(offset),
                "dead-letter-group": group,
                "dead-letter-deliveries": str(number),
            }
            headers = {**(record.headers or {}), **origin}
            copy = Record(record.value, record.key, headers, record.timestamp)
            letters[index % len(letters)].append(encode_batch([copy]), self._state.now_ms())
        work.dead_copied(list(work.dead))

    def _readable(
        self, work: Work, partition: MemoryPartition, *, max_messages: int
    ) -> tuple[Choice, int]:
        """Step over what cannot be decoded; return what to deliver, and how many that were."""
        corrupt = 0
        while True:
            choice = self._choose(work, partition, max_messages=max_messages)
            if choice.new_from == choice.new_to:
                return choice, corrupt
            end = partition.run_end(choice.new_from)
            if partition.records[choice.new_from] is not None:
                return choice._replace(new_to=min(end, choice.new_to)), corrupt
            corrupt += work.pass_over(choice, end)

    def _choose(self, work: Work, partition: MemoryPartition, *, max_messages: int) -> Choice:
        return work.choose(
            self._state.now_ms(),
            end=len(partition.records),
            max_messages=max_messages,
            room=UNSETTLED_MAX,
        )

    def _waiting(self, address: str, request: Request) -> list[dict[str, Any]]:
        """Return those of several partitions that have something, or cannot be asked."""
        parts: list[dict[str, Any]] = []
        for one, call in self._looks(request):
            part: dict[str, Any] = {"topic": call.topic, "partition": call.partition}
            try:
                partition, _ = self._admit(address, one, call)
                work = partition.work_of(call.group, start=call.start)
                if self._choose(work, partition, max_messages=1).is_empty:
                    continue
            except QueueError as error:
                part["error"] = error.to_body()
            parts.append(part)
        return parts

    def _admit(self, address: str, request: Request, call: Receive) -> tuple[MemoryPartition, int]:
        """Check a call; return the partition that it is about, and the consumer's id."""
        client_id = self._state.authorize_reader(request, call.topic)
        check_group_name(call.group)
        return self._state.partition_at(address, call.topic, call.partition), client_id


def _delay_ms(kind: SettleKind, call: Settle) -> int:
    """Return for how long from now messages are invisible."""
    if kind is SettleKind.NACK:
        return call.delay_ms or 0
    return DEFAULT_VISIBILITY_MS if call.visibility_ms is None else call.visibility_ms
