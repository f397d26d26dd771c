"""Dead letters that a manager sends back: each once, only to the topic that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from http_base.cluster import GroupStanding
from http_base.messages import message_answer
from manager_app.groups.dead_letters import letters_left, redrive
from manager_app.groups.offsets import GroupOffsetCalls
from manager_app.groups.standings import Overview
from manager_app.inputs import TopicRedrive
from manager_app.metadata import ClusterMetadata, PartitionMetadata, TopicMetadata
from myqueue.contract.answers import DeliveredMessage
from myqueue.contract.errors import CommitTimeout, GroupNotFound, Overloaded, TopicDoesNotExist
from myqueue.contract.records import MAX_TIMESTAMP, Record, encode_batch, read_header
from myqueue.contract.rules.dead_letters import REDRIVE_GROUP
from myqueue.contract.rules.work import Receipt, SettleKind, Work, format_receipt, parse_receipts
from myqueue.testing.partition import MemoryPartition

STANDING = GroupStanding(
    group="g", topic="logs.dead", is_workers=True, partitions=1, lag=0, age_ms=0
)
KINDS = {"/messages/ack": SettleKind.ACK, "/messages/nack": SettleKind.NACK}


@dataclass
class Leaders:
    """Every partition's leader, over partitions in memory and the rules of work."""

    partitions: dict[tuple[str, int], MemoryPartition] = field(default_factory=dict)
    clock_ms: int = 0
    known: set[tuple[str, int, bytes]] = field(default_factory=set)
    """Request ids of batches that were appended."""
    fail: dict[str, list[Exception]] = field(default_factory=dict)
    """By path: raised after the call was done, one after the other."""
    lose: set[str] = field(default_factory=set)
    """Paths of calls that never arrive."""

    async def call(self, call, answer_type):
        if call.path in self.lose:
            raise CommitTimeout("nobody knows")
        place = call.fields["topic"], call.fields["partition"]
        found = self._answer(call, place, self.partitions[place])
        if self.fail.get(call.path):
            raise self.fail[call.path].pop(0)
        return answer_type(**found)

    def _answer(self, call, place, partition):
        topic, index = place
        at = {"topic": topic, "partition": index}
        match call.path:
            case "/offsets/by-time":
                end = call.fields["timestamp"] == MAX_TIMESTAMP
                return {**at, "offset": len(partition.records) if end else 0}
            case "/offsets":
                if not partition.knows_group(REDRIVE_GROUP):
                    raise GroupNotFound
                told = partition.group_place(REDRIVE_GROUP, 0)
                return {**at, "group": REDRIVE_GROUP, "generation": 0, "log_start_offset": 0} | told
            case "/messages/receive":
                return {**at, **self._receive(call.fields, place, partition)}
            case "/producer/produce":
                return self._produce(call.batch, place, partition)
            case "/fetch":
                offset, end = call.fields["offset"], len(partition.records)
                offsets = range(offset, min(end, offset + 2))
                messages = [self._message(place, *one) for one in partition.found(offsets)]
                tail = {"next_offset": offsets.stop, "high_watermark": end, "log_start_offset": 0}
                return {**at, "messages": messages, "corrupt": 0, **tail}
        receipts = parse_receipts(call.fields["receipts"])
        partition.works[REDRIVE_GROUP].settle(KINDS[call.path], receipts, self.clock_ms)
        return {"results": []}

    def _message(self, place, offset, record):
        topic, index = place
        return message_answer(record, topic=topic, partition=index, offset=offset, binary=True)

    def _receive(self, fields, place, partition):
        work = partition.works.setdefault(REDRIVE_GROUP, Work(1, 0))
        work.configure(fields["delivery_limit"], "")
        end, most = len(partition.records), fields["max_messages"]
        choice = work.choose(self.clock_ms, end=end, max_messages=most, room=10_000)
        given = work.receive(choice, self.clock_ms, end=end, visibility_ms=fields["visibility_ms"])
        messages = []
        for offset, number in given:
            message = self._message(place, offset, partition.records[offset])
            shown = {name: getattr(message, name) for name in message.__struct_fields__}
            receipt = format_receipt(Receipt(work.origin, offset, number))
            messages.append(DeliveredMessage(**shown, receipt=receipt, delivery_count=number))
        return {"group": REDRIVE_GROUP, "messages": messages, "missed": 0, "corrupt": 0}

    def _produce(self, batch, place, partition):
        header = read_header(batch)
        key = (*place, header.request_digest)
        if key not in self.known:
            self.known.add(key)
            partition.append(batch)
        return {"partition": place[1], "base_offset": 0, "count": 1, "term": 1}


def topic_of(name, count):
    partitions = tuple(PartitionMetadata(index + 1, index, name, (1,)) for index in range(count))
    return TopicMetadata(name, count, partitions, None, 1)


class Queue:
    """Topic `logs` with two partitions, and its dead letters."""

    def __init__(self):
        self.leaders = Leaders()
        self.topics = {name: topic_of(name, 2) for name in ("logs", "logs.dead")}
        for name in self.topics:
            for index in range(2):
                self.leaders.partitions[name, index] = MemoryPartition("")
        metadata = SimpleNamespace(current=ClusterMetadata(topics=self.topics))
        self.runtime = SimpleNamespace(
            calls=self.leaders,
            group_offsets=GroupOffsetCalls(metadata, self.leaders),
            find_topic=self.find_topic,
            standings=SimpleNamespace(ask=self.standings),
        )
        self.others = []
        """Further groups that work on the dead letters."""
        self.silent = frozenset()

    async def standings(self):
        of = {name: {"logs.dead": STANDING} for name in (REDRIVE_GROUP, *self.others)}
        return Overview(by_group=of, silent=self.silent)

    async def find_topic(self, name):
        if name not in self.topics:
            raise TopicDoesNotExist(name)
        return self.topics[name]

    def bury(self, value, *, at=0, topic="logs", offset=0):
        headers = {
            "dead-letter-topic": topic,
            "dead-letter-partition": str(at),
            "dead-letter-offset": str(offset),
            "dead-letter-group": "mailers",
            "dead-letter-deliveries": "5",
            "colour": "red",
        }
        letters = self.leaders.partitions["logs.dead", at]
        letters.append(encode_batch([Record(value, "k", headers, 7)]))

    async def redrive(self, **asked):
        return await redrive(self.runtime, self.topics["logs"], TopicRedrive(**asked))

    def back(self, index=0):
        return self.leaders.partitions["logs", index].values


@pytest.fixture
def queue():
    return Queue()


async def test_letters_go_back_to_their_partitions_as_they_were(queue):
    queue.bury("a", at=0)
    queue.bury("b", at=1)
    queue.bury("c", at=1)
    assert await letters_left(queue.runtime, queue.topics["logs.dead"]) == 3
    told = await queue.redrive()
    assert (told.redriven, told.others, told.left, told.dead_letter_topic) == (3, 0, 0, "logs.dead")
    assert (queue.back(0), queue.back(1)) == (["a"], ["b", "c"])
    record = queue.leaders.partitions["logs", 0].records[0]
    assert record == Record("a", "k", {"colour": "red", "redriven-from": "logs.dead/0/0"}, 7)
    assert (await queue.redrive()).redriven == 0
    assert queue.back(0) == ["a"]


async def test_no_more_than_asked_for_go_back_the_oldest_first(queue):
    for value in "abc":
        queue.bury(value)
    told = await queue.redrive(max_messages=2)
    assert (told.redriven, told.left, queue.back()) == (2, 1, ["a", "b"])
    assert (await queue.redrive()).redriven == 1


async def test_letters_of_other_topics_stay_whoever_wrote_their_headers(queue):
    queue.bury("a", topic="secrets")
    queue.bury("b")
    told = await queue.redrive()
    assert (told.redriven, told.others, told.left) == (1, 1, 1)
    assert queue.back() == ["b"]
    assert (await queue.redrive()).others == 1


async def test_one_that_does_not_say_where_it_died_goes_by_its_key(queue):
    queue.leaders.partitions["logs.dead", 0].append(encode_batch([Record("a", "k", None, 7)]))
    assert (await queue.redrive()).redriven == 1
    assert [*queue.back(0), *queue.back(1)] == ["a"]


async def test_what_was_sent_before_a_run_broke_off_is_not_sent_again(queue):
    queue.leaders.partitions["logs", 0].append(encode_batch([Record("x", timestamp=1)] * 3))
    queue.bury("a", offset=0)
    queue.leaders.lose.add("/messages/ack")
    with pytest.raises(CommitTimeout):
        await queue.redrive()
    assert queue.back() == ["x", "x", "x", "a"]
    assert (await queue.redrive()).redriven == 0, "it is out with the run that broke off"
    queue.leaders.clock_ms += 60_000
    queue.leaders.known.clear()
    queue.leaders.lose.clear()
    assert (await queue.redrive()).redriven == 1
    assert queue.back() == ["x", "x", "x", "a"]


async def test_a_send_whose_outcome_is_unknown_is_one_message(queue):
    queue.bury("a")
    queue.leaders.fail["/producer/produce"] = [CommitTimeout("nobody knows")]
    with pytest.raises(CommitTimeout):
        await queue.redrive()
    queue.leaders.clock_ms += 60_000
    assert (await queue.redrive()).redriven == 1
    assert queue.back() == ["a"]


async def test_what_went_back_before_an_error_is_told_with_it_and_the_others_come_again(queue):
    queue.bury("a")
    queue.bury("b")
    queue.bury("c")
    calls = queue.leaders.call
    failing = iter([False, True])

    async def second_fails(call, answer_type):
        if call.path == "/producer/produce" and next(failing, False):
            raise Overloaded("busy", retry_after_ms=1)
        return await calls(call, answer_type)

    queue.leaders.call = second_fails
    told = await queue.redrive()
    assert (told.redriven, told.reason) == (1, "OVERLOADED: busy")
    assert told.left == 2
    assert queue.back() == ["a"]
    assert (await queue.redrive()).redriven == 1, "what was not begun came back at once"
    queue.leaders.clock_ms += 60_000
    assert (await queue.redrive()).redriven == 1
    assert sorted(queue.back()) == ["a", "b", "c"]


@pytest.mark.parametrize("known", ["another group", "a silent broker", "nothing"])
async def test_what_another_group_sent_back_is_not_sent_again(queue, known):
    back = {"redriven-from": "logs.dead/0/0"}
    queue.leaders.partitions["logs", 0].append(encode_batch([Record("x"), Record("a", "k", back)]))
    queue.bury("a", offset=0)
    queue.bury("b", offset=0)
    queue.others = ["mine"] if known == "another group" else []
    queue.silent = frozenset({1} if known == "a silent broker" else ())
    assert (await queue.redrive()).redriven == 2
    again = [] if known != "nothing" else ["a"]
    assert queue.back() == ["x", "a", *again, "b"]


async def test_without_dead_letters_there_is_no_topic(queue):
    with pytest.raises(TopicDoesNotExist):
        await queue.redrive(dead_letter_topic="nowhere")
