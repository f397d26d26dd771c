"""The work of queue workers' groups in memory: what is out, comes back, or goes to dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from myqueue.contract import group_inputs as group_protocol
from myqueue.contract.errors import InvalidRequest, UnauthorizedException
from myqueue.contract.group_inputs import DEAD_LETTER_SUFFIX
from myqueue.contract.inputs import check_range, read_input
from myqueue.contract.records import Record, encode_batch
from myqueue.testing.groups import MemoryGroupApi
from myqueue.testing.state import decoded

if TYPE_CHECKING:
    from myqueue.testing.partition import MemoryPartition
    from myqueue.transport.http1 import Request

UNSETTLED_MAX = 10_000
"""Messages of a group that may be out in a partition at once."""


class Attempt(NamedTuple):
    """A message that is out: the number of its last delivery, and when it comes back."""

    number: int
    visible_at_ms: int


class MemoryWork:
    """One group in one partition.

    Args:
        origin: tells its receipts from those of an earlier group of the name.
        next_offset: the first message to deliver.
    """

    def __init__(self, origin: int, next_offset: int) -> None:
        self.origin = origin
        self.next_offset = next_offset
        self.delivery_limit = group_protocol.DEFAULT_DELIVERY_LIMIT
        self.dead_letter_topic = ""
        self.unsettled: dict[int, Attempt] = {}
        self.dead: dict[int, int] = {}
        """Offset -> number of its last delivery; until it is copied."""

    @property
    def offset(self) -> int:
        """Everything below it is settled."""
        return min([self.next_offset, *self.unsettled, *self.dead])

    def deliverable(self, now_ms: int, *, end: int, limit: int) -> list[int]:
        """Return the offsets to deliver: first what came back, then what is new."""
        again = [
            offset
            for offset, attempt in sorted(self.unsettled.items())
            if attempt.visible_at_ms <= now_ms and attempt.number < self.delivery_limit
        ][:limit]
        room = min(UNSETTLED_MAX - len(self.unsettled) - len(self.dead), limit - len(again))
        return again + list(range(self.next_offset, min(end, self.next_offset + max(0, room))))

    def comes_back_in_ms(self, now_ms: int) -> int | None:
        """Return how long until the next message comes back, or is dead; None for never."""
        times = [attempt.visible_at_ms for attempt in self.unsettled.values()]
        return max(0, min(times) - now_ms) if times else None

    def receive(
        self, now_ms: int, *, end: int, limit: int, visibility_ms: int
    ) -> list[tuple[int, int]]:
        """Deliver; return offset and number of the delivery of each."""
        delivered = []
        for offset in self.deliverable(now_ms, end=end, limit=limit):
            known = self.unsettled.get(offset)
            number = 1 if known is None else known.number + 1
            self.unsettled[offset] = Attempt(number, now_ms + visibility_ms)
            self.next_offset = max(self.next_offset, offset + 1)
            delivered.append((offset, number))
        return delivered

    def expire(self, now_ms: int) -> None:
        """Mark messages dead whose last delivery is over."""
        for offset, attempt in list(self.unsettled.items()):
            if attempt.visible_at_ms <= now_ms and attempt.number >= self.delivery_limit:
                del self.unsettled[offset]
                self.dead[offset] = attempt.number

    def settle(self, path: str, receipt: str, *, visible_at_ms: int) -> tuple[bool, str]:
        """Acknowledge, give back or extend a delivery; return whether that is done, and why."""
        origin, offset, number = _parsed(receipt)
        if origin != self.origin or not 0 <= offset < self.next_offset:
            return False, "unknown"
        known = self.unsettled.get(offset)
        if known is None:
            return path == "/messages/ack", "settled"
        if known.number != number:
            return False, "superseded" if number < known.number else "unknown"
        if path == "/messages/ack":
            del self.unsettled[offset]
        elif path == "/messages/nack" and number >= self.delivery_limit:
            del self.unsettled[offset]
            self.dead[offset] = number
            return True, "dead"
        else:
            self.unsettled[offset] = Attempt(number, visible_at_ms)
        return True, ""


class MemoryWorkApi(MemoryGroupApi):
    """The calls of queue workers at the brokers; a group has either workers or members."""

    def commit_offset(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `POST /offsets/commit` of a group that has no workers."""
        call = read_input(group_protocol.OffsetsCommit, decoded(request))
        if call.group in self.partition_at(address, call.topic, call.partition).works:
            raise InvalidRequest(f"group {call.group!r} is used by queue workers", field="group")
        return super().commit_offset(address, request)

    def tell_offset(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `GET /offsets`."""
        call = read_input(group_protocol.Offsets, None, request.query)  # type: ignore[arg-type]
        partition = self.partition_at(address, call.topic, call.partition)
        if call.group not in partition.works:
            return super().tell_offset(address, request)
        self._authorize_reader(request, call.topic)
        row = self._row(call.group, (call.topic, call.partition), None)
        del row["member_id"]
        return {**row, "group": call.group, "generation": 0, "log_start_offset": 0}

    def _row(self, name: str, where: tuple[str, int], member_id: str | None) -> dict[str, Any]:
        row = super()._row(name, where, member_id)
        work = self.topics[where[0]][where[1]].works.get(name)
        if work is not None:
            out, dead = len(work.unsettled), len(work.dead)
            row |= {"offset": work.offset, "lag": row["high_watermark"] - work.offset}
            row |= {"unsettled": out, "dead": dead}
        return row

    def _delete(self, name: str, request: Request) -> dict[str, Any]:
        answer = super()._delete(name, request)
        for partitions in self.topics.values():
            for partition in partitions:
                partition.works.pop(name, None)
        return answer

    def work_held_ms(self, address: str, request: Request) -> int:
        """Return how many milliseconds a receive waits for what is not there yet."""
        call = read_input(group_protocol.Receive, decoded(request))
        partition, work = self._work(address, call)
        now_ms = self.now_ms()
        if work.deliverable(now_ms, end=len(partition.records), limit=1):
            return 0
        back_ms = work.comes_back_in_ms(now_ms)
        return call.wait_ms if back_ms is None else min(call.wait_ms, back_ms)

    def receive(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `POST /messages/receive`."""
        call = read_input(group_protocol.Receive, decoded(request))
        self._authorize_worker(request, call.topic)
        check_range("max_messages", call.max_messages, 0, group_protocol.MAX_RECEIPTS)
        check_range("visibility_ms", call.visibility_ms, 1, group_protocol.MAX_VISIBILITY_MS)
        check_range("delivery_limit", call.delivery_limit, 1, group_protocol.MAX_DELIVERY_LIMIT)
        partition, work = self._work(address, call)
        work.delivery_limit = call.delivery_limit
        work.dead_letter_topic = call.dead_letter_topic or ""
        now_ms = self.now_ms()
        end, limit = len(partition.records), call.max_messages
        delivered = work.receive(now_ms, end=end, limit=limit, visibility_ms=call.visibility_ms)
        items = []
        for offset, number in delivered:
            record = partition.records[offset]
            items.append(
                {
                    "offset": offset,
                    "timestamp": record.timestamp,
                    "key": record.key,
                    "message": record.value,
                    "headers": record.headers,
                    "receipt": f"{work.origin}.{offset}.{number}",
                    "delivery_count": number,
                }
            )
        named = {"topic": call.topic, "partition": call.partition, "group": call.group}
        return {**named, "messages": items, "missed": 0, "corrupt": 0}

    def settle(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `POST /messages/ack`, `/messages/nack` and `/messages/extend`."""
        call = read_input(group_protocol.Settle, decoded(request))
        self._authorize_worker(request, call.topic)
        check_range("receipts", len(call.receipts), 1, group_protocol.MAX_RECEIPTS)
        partition = self.partition_at(address, call.topic, call.partition)
        work = partition.works.get(group_protocol.check_group_name(call.group))
        delay_ms = call.delay_ms if request.path == "/messages/nack" else call.visibility_ms
        visible_at_ms = self.now_ms() + (delay_ms or 0)
        results = []
        for receipt in call.receipts:
            done, reason = False, "unknown"
            _parsed(receipt)
            if work is not None:
                done, reason = work.settle(request.path, receipt, visible_at_ms=visible_at_ms)
            why = {"reason": reason} if reason else {}
            results.append({"receipt": receipt, "done": done, **why})
        self.bury()
        return {"results": results}

    def bury(self) -> None:
        """Copy every dead message to its dead-letter topic, which is made when it is missing."""
        for topic, partitions in list(self.topics.items()):
            for index, partition in enumerate(partitions):
                for group, work in partition.works.items():
                    work.expire(self.now_ms())
                    if work.dead:
                        self._bury_dead((topic, index), group, work)

    def _bury_dead(self, where: tuple[str, int], group: str, work: MemoryWork) -> None:
        topic, index = where
        partitions = self.topics[topic]
        name = work.dead_letter_topic or topic + DEAD_LETTER_SUFFIX
        letters = self.topics.get(name) or self.create(name, len(partitions))
        for offset, number in sorted(work.dead.items()):
            record = partitions[index].records[offset]
            origin: dict[str, str | bytes] = {
                "dead-letter-topic": topic,
                "dead-letter-partition": str(index),
                "dead-letter-offset": str(offset),
                "dead-letter-group": group,
                "dead-letter-deliveries": str(number),
            }
            headers = {**(record.headers or {}), **origin}
            copy = Record(record.value, record.key, headers, record.timestamp)
            letters[index % len(letters)].append(encode_batch([copy]), self.now_ms())
        work.dead.clear()

    def _work(
        self, address: str, call: group_protocol.Receive
    ) -> tuple[MemoryPartition, MemoryWork]:
        partition = self.partition_at(address, call.topic, call.partition)
        group = group_protocol.check_group_name(call.group)
        work = partition.works.get(group)
        if partition.group_offsets.get(group, (0, 0))[0]:
            raise InvalidRequest(f"group {group!r} is used by consumers", field="group")
        if work is None:
            end = len(partition.records)
            self.next_id += 1
            work = MemoryWork(self.next_id, end if call.start == "latest" else 0)
            partition.works[group] = work
        return partition, work

    def _authorize_worker(self, request: Request, topic: str) -> None:
        """Let any registered consumer of a topic work."""
        kind, _, client_id = (request.token or "").rpartition("-")
        if kind != "token" or not client_id.isdigit():
            raise UnauthorizedException("this call needs the token of a registered consumer")
        self.authorize(request, "consumer", int(client_id), topic)


def _parsed(receipt: str) -> tuple[int, int, int]:
    parts = receipt.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidRequest(f"{receipt[:100]!r} is no receipt", field="receipts")
    return int(parts[0]), int(parts[1]), int(parts[2])
