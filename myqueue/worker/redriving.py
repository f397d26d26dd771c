"""Sending dead letters back to where they came from: each once, however often it is begun.

A dead letter is received by a group of workers on the dead-letter topic, sent to its origin, and
acknowledged. Whatever comes for the first time was never sent. Whatever comes again may have been
sent by a run that was cut off in between: its origin is searched for it first, from the original
message on. So a crash costs time and doubles nothing. Where another group works on the dead-letter
topic too, it may have sent any of them, and all are searched for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.errors import Forbidden, OffsetOutOfRange
from myqueue.contract.group_inputs import DEAD_LETTER_SUFFIX, MAX_DELIVERY_LIMIT
from myqueue.contract.inputs import MAX_FETCH_BYTES
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import Record
from myqueue.contract.rules.dead_letters import (
    REDRIVE_GROUP,
    REDRIVEN_FROM,
    death_of,
    mark_of,
    returning_headers,
)
from myqueue.producer.producer import Producer
from myqueue.transport.client_base import BlockingClient
from myqueue.transport.fetching import Fetcher
from myqueue.transport.settings import Settings
from myqueue.worker.core import WorkerCore
from myqueue.worker.work_requests import ACK, NACK, WorkOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Unpack

    from myqueue.results import Delivery
    from myqueue.transport.rotation import TopicPartition
    from myqueue.worker.worker import Means

BATCH_MESSAGES = 100
"""Dead letters that are out at once."""
VISIBILITY_MS = 60_000
"""After this another run may take over what one had received when it was cut off."""


class Redriven(NamedTuple):
    """Progress of a redrive."""

    done: int
    """Dead letters that were sent back."""
    total: int
    """About how many there are; exact once every partition was received from."""


class DeadLetters(BlockingClient[WorkerCore]):
    """A client that empties a dead-letter topic as a worker does.

    Args:
        topic: the topic whose messages died; one that does not say where it is from goes there.
        address: a manager's address, or several.
        group: runs of the same group share the work.
        dead_letter_topic: where they are; the topic's name with `.dead` when left out.
        means: `config`, `transport` and `clock`, as every client takes them.

    Raises:
        TopicDoesNotExist: there is no dead-letter topic.
    """

    def __init__(
        self,
        topic: str,
        address: str | Sequence[str],
        *,
        group: str,
        dead_letter_topic: str | None = None,
        **means: Unpack[Means],
    ) -> None:
        self._origin = topic
        self._group = group
        self._is_alone = True
        self._letters = dead_letter_topic or topic + DEAD_LETTER_SUFFIX
        options = WorkOptions(
            group=group, visibility_ms=VISIBILITY_MS, delivery_limit=MAX_DELIVERY_LIMIT
        )
        settings = Settings(
            address, means.get("config"), means.get("transport"), means.get("clock")
        )
        core = WorkerCore(
            settings.addresses,
            options=options,
            config=settings.config,
            clock=settings.clock,
            make_lock=settings.make_lock,
        )
        self._fetcher = Fetcher(core.session)
        super().__init__(core, settings, self._letters)

    def redrive(self, producer: Producer, max_messages: int | None) -> Iterator[Redriven]:
        """Send back what is there now, and say after each batch how far it is.

        Args:
            producer: registered for no topic in particular.
            max_messages: when to stop; None for all.
        """
        count = self.partition_count(self._letters)
        ends = [
            self._run(self._fetcher.high_watermark((self._letters, index)))
            for index in range(count)
        ]
        done, total = 0, sum(ends)
        self._is_alone = self._works_alone()
        for partition, end in enumerate(ends):
            begun = False
            while max_messages is None or done < max_messages:
                wanted = BATCH_MESSAGES if max_messages is None else max_messages - done
                letters = self._receive_from(partition, min(wanted, BATCH_MESSAGES))
                # What died after the beginning is left alone, or a message that dies again and
                # again would keep this here for ever.
                mine = [letter for letter in letters if letter.offset < end]
                late = letters[len(mine) :]
                if late:
                    self._run(self._core.settle(NACK, late, delay_ms=0))
                total -= 0 if begun else (mine[0].offset if mine else end)
                begun = True
                if mine:
                    self._send_back(producer, mine)
                    self._run(self._core.settle(ACK, mine))
                    done += len(mine)
                    yield Redriven(done, total)
                if late or not mine:
                    break

    def close(self) -> None:
        """Stop. What was received and is not back yet is taken up by a later run."""
        if not self._core.session.closed:
            self._drive(self._core.leave())
        super().close()

    def _works_alone(self) -> bool:
        """Tell whether no other group can have sent dead letters back."""
        try:
            groups = self.administration().list_groups(kind="workers", topic=self._letters)
        except Forbidden:  # to send letters back one need not see groups
            return self._group == REDRIVE_GROUP
        return set(groups) <= {self._group}

    def _receive_from(self, partition: int, max_messages: int) -> list[Delivery]:
        flow = self._core.receive(max_messages, 0.0, partitions=[(self._letters, partition)])
        return sorted(self._run(flow), key=lambda letter: letter.offset)

    def _send_back(self, producer: Producer, letters: list[Delivery]) -> None:
        by_target: dict[TopicPartition, list[Delivery]] = {}
        for letter in letters:
            by_target.setdefault(self._target(producer, letter), []).append(letter)
        for target, mine in by_target.items():
            doubtful = [one for one in mine if one.delivery_count > 1 or not self._is_alone]
            back = self._sent_before(target, doubtful)
            records = [_record(letter) for letter in mine if _mark(letter) not in back]
            if records:
                producer.produce_many(target[0], records, partition=target[1])

    def _target(self, producer: Producer, letter: Delivery) -> TopicPartition:
        """Return where a dead letter goes: its own partition, if it is known."""
        died = death_of(letter.headers)
        topic = died.topic or self._origin
        if topic not in self.topics:
            self.register(topic)
        if topic not in producer.topics:
            producer.register(topic)
        count = self.partition_count(topic)
        if 0 <= died.partition < count:
            return topic, died.partition
        return topic, partition_for_key(letter.offset if letter.key is None else letter.key, count)

    def _sent_before(self, target: TopicPartition, letters: list[Delivery]) -> set[str]:
        """Return the marks of those dead letters that are in their partition already."""
        wanted = {_mark(letter) for letter in letters}
        found: set[str] = set()
        if not wanted:
            return found
        offset = min(death_of(letter.headers).offset for letter in letters) + 1
        while found != wanted:
            try:
                fetched = self._run(
                    self._fetcher.fetch(*target, offset, max_bytes=MAX_FETCH_BYTES, wait_ms=0)
                )
            except OffsetOutOfRange as error:
                start = int(error.details.get("log_start_offset", 0))
                if start <= offset:
                    break
                offset = start
                continue
            if fetched.next_offset <= offset:
                break
            marks = {str((one.headers or {}).get(REDRIVEN_FROM)) for one in fetched.messages}
            found |= wanted & marks
            offset = fetched.next_offset
        return found


def _mark(letter: Delivery) -> str:
    return mark_of(letter.topic, letter.partition, letter.offset)


def _record(letter: Delivery) -> Record:
    """Return the message as it was, and where it comes back from."""
    headers = returning_headers(letter.headers, _mark(letter))
    return Record(letter.value, letter.key, headers, letter.timestamp)
