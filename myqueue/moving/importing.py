"""Import: what was exported comes back, each message in its partition and with its time.

Offsets are new; those of groups are translated. One batch of a partition is under way at a time,
stored whole or not at all, and each message says where it comes from (`marks`): an import that was
cut off finds in the target how far it came. What it sends twice is at most the last batch of a
partition, where that batch was on its way when the import ended and arrived after the next one
looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from myqueue.client import Client
from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    DamagedExport,
    GroupNotFound,
    InvalidRequest,
    MessageTooLarge,
    PartitionNotFound,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
)
from myqueue.contract.records import Record, make_record
from myqueue.moving.exporting import Step
from myqueue.moving.folder import (
    FileState,
    Folder,
    GroupPlace,
    Plan,
    Span,
    TopicPlan,
    opened,
    require_whole,
)
from myqueue.moving.lines import LINE_BYTES_MAX, read_line, record_of
from myqueue.moving.marks import Copied, Marks
from myqueue.moving.place import Place
from myqueue.producer.producer import Producer

BATCH_MESSAGES = 2_000
BATCH_BYTES = 1 << 20
"""Of lines; a longer message goes alone. Well below what one batch takes."""
GROUPS_OF_A_CLIENT = 40
"""A client may make 50 groups."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What is imported, and how."""

    topics: Sequence[str] = ()
    """Names in the export; empty for all."""
    partitions: Sequence[int] = ()
    """Of each topic; empty for all."""
    into: str | None = None
    """The topic that the only one goes to, which may exist and have other messages."""
    replication_factor: int | None = None
    """Of topics that are made; that of the export when left out."""
    groups: bool = True
    """False to leave the offsets of groups alone."""
    skip_bad: bool = False
    """Lines that are no messages are counted and left out."""


@dataclass
class Imported:
    """What an import did; grows while it goes on."""

    messages: int = 0
    """Sent by this run."""
    there: int = 0
    """Which an earlier run had brought."""
    bad: int = 0
    """Lines that were left out."""
    groups: list[str] = field(default_factory=list)
    """What became of each group in each partition, in words."""


class _Target(NamedTuple):
    """A partition of the export, and where it goes to."""

    plan: TopicPlan
    topic: str
    """Of the target."""
    partition: int

    @property
    def where(self) -> tuple[str, int]:
        """Topic and partition of the target."""
        return self.topic, self.partition

    @property
    def span(self) -> Span:
        """The offsets that were exported."""
        return self.plan.partitions[self.partition]


class _Wanted:
    """What of an export is imported, and where to.

    Raises:
        TopicDoesNotExist: the export has no such topic.
        PartitionNotFound: it has no such partition.
        InvalidRequest: `into` without exactly one topic.
    """

    def __init__(self, folder: Folder, plan: Plan, options: ImportOptions) -> None:
        self._folder = folder
        self.plan = plan
        self.options = options
        present = {one.topic: one for one in plan.topics}
        for name in options.topics:
            if name not in present:
                raise TopicDoesNotExist(f"the export has no topic {name!r}")
        self.topics = [present[name] for name in options.topics or present]
        if options.into is not None and len(self.topics) != 1:
            raise InvalidRequest("--into takes one topic: name it with --topic", field="into")
        for one in self.topics:
            for index in options.partitions:
                if index not in one.partitions:
                    raise PartitionNotFound(f"the export has no partition {index} of {one.topic!r}")

    def name_of(self, topic: TopicPlan) -> str:
        """Return where a topic goes to."""
        return self.options.into or topic.topic

    def names(self) -> list[str]:
        """Return where all topics go to."""
        return [self.name_of(one) for one in self.topics]

    def targets(self) -> list[_Target]:
        """Return all partitions."""
        only = self.options.partitions
        return [
            _Target(topic, self.name_of(topic), index)
            for topic in self.topics
            for index in topic.partitions
            if not only or index in only
        ]

    def path_of(self, target: _Target) -> Path:
        """Return the file of a partition."""
        compressed = self.plan.compressed
        return self._folder.file_of(target.plan.topic, target.partition, compressed=compressed)

    def said_of(self, target: _Target) -> FileState:
        """Return what the export says of that file."""
        path = self.path_of(target)
        try:
            return self.plan.files[self._folder.name_of(path)]
        except KeyError:
            raise DamagedExport(f"{self._folder.path} does not say what {path} has") from None

    def marks(self, target: _Target) -> Marks:
        """Return what marks the messages of a partition."""
        return Marks(self.plan.name, target.plan.topic, target.partition)


def import_folder(
    folder: Path,
    address: str,
    options: ImportOptions,
    imported: Imported,
    *,
    is_over: Callable[[], bool] = lambda: False,
    config: ClientConfig | None = None,
) -> Iterator[Step]:
    """Import a complete export, or go on with an import of it that was interrupted.

    Args:
        folder: of the export.
        address: a manager's address, or several.
        options: what to import.
        imported: is told what was done.
        is_over: True to stop after the batch in hand; another run goes on.
        config: settings of the client.

    Yields:
        How far it is, after each batch.

    Raises:
        DamagedExport: a file is damaged or not complete; nothing of that file was sent unless the
            text names a line.
        TopicAlreadyExists: a topic has other messages and was not named with `into`.
        InvalidRequest: `into` without exactly one topic.
        QueueError: the cluster did not take something in time; another run goes on.
    """
    place = Folder(folder)
    with ExitStack() as stack:
        stack.enter_context(place.locked())
        plan = place.plan()
        if plan is None or not plan.complete:
            raise DamagedExport(f"{folder} has no complete export: export again, it goes on")
        wanted = _Wanted(place, plan, options)
        if not options.skip_bad:
            for target in wanted.targets():
                require_whole(wanted.path_of(target), wanted.said_of(target))
        client = stack.enter_context(Client(address, config=config))
        made = _make_topics(client, wanted)
        reader = Place(wanted.names(), address, config=config)
        stack.callback(reader.forget)
        _require_own(reader, wanted, made)
        producer = stack.enter_context(
            Producer(wanted.names(), address, config=config, create=False)
        )
        for step in _Messages(wanted, reader, producer, imported).bring():
            yield step
            if is_over():
                return
        if options.groups:
            make = partial(Place, wanted.names(), address, config=config)
            _Groups(wanted, client, reader, imported).bring(make)


def _make_topics(client: Client, wanted: _Wanted) -> set[str]:
    """Create what is missing; return the names of that."""
    present = set(client.list_topics())
    made = set()
    for topic in wanted.topics:
        name = wanted.name_of(topic)
        if name in present:
            count = client.describe_topic(name).number_of_partitions
            if count < topic.number_of_partitions:
                raise PartitionNotFound(
                    f"topic {name!r} has {count} partitions, the export"
                    f" {topic.number_of_partitions}: add some first"
                )
            continue
        client.create_topic(
            name,
            topic.number_of_partitions,
            wanted.options.replication_factor or topic.replication_factor,
            retention_ms=topic.retention_ms,
            retention_bytes=topic.retention_bytes,
        )
        made.add(name)
    return made


def _require_own(reader: Place, wanted: _Wanted, made: set[str]) -> None:
    """Refuse a topic with messages of which none is of this export, unless it was named."""
    if wanted.options.into is not None:
        return
    for topic in wanted.topics:
        targets = [_Target(topic, topic.topic, index) for index in topic.partitions]
        filled = [one for one in targets if reader.range_of(*one.where)[1]]
        is_own = any(Copied(reader, one.where, wanted.marks(one)).last() for one in filled)
        if topic.topic not in made and filled and not is_own:
            raise TopicAlreadyExists(
                f"topic {topic.topic!r} has other messages: --topic {topic.topic} --into"
                f" {topic.topic} appends to it, or name another one"
            )


class _ReadLine(NamedTuple):
    """A line of a file that is a message."""

    number: int
    """From 1."""
    size: int
    """Bytes of the line: more than the message has."""
    offset: int
    record: Record


class _Batch:
    """Lines that are sent together."""

    def __init__(self) -> None:
        self.lines: list[_ReadLine] = []
        self._size = 0

    def has_room(self, one: _ReadLine) -> bool:
        """Return whether a further message goes with these; the first one always does."""
        fits = len(self.lines) < BATCH_MESSAGES and self._size + one.size <= BATCH_BYTES
        return fits or not self.lines

    def add(self, one: _ReadLine) -> None:
        """Take a further message."""
        self.lines.append(one)
        self._size += one.size


class _Messages:
    """Brings messages."""

    def __init__(
        self, wanted: _Wanted, reader: Place, producer: Producer, imported: Imported
    ) -> None:
        self._wanted = wanted
        self._reader = reader
        self._producer = producer
        self._imported = imported

    def bring(self) -> Iterator[Step]:
        """Bring all chosen partitions; yield how far it is."""
        targets = self._wanted.targets()
        total = sum(one.span.end - one.span.start for one in targets)
        done = 0
        for target in targets:
            for offset in self._partition(target):
                yield Step(*target.where, done + offset - target.span.start, total)
            done += target.span.end - target.span.start
            yield Step(*target.where, done, total)

    def _partition(self, target: _Target) -> Iterator[int]:
        """Bring one partition; yield the offset after each batch."""
        last = Copied(self._reader, target.where, self._wanted.marks(target)).last()
        after = -1 if last is None else last.source_offset
        batch = _Batch()
        try:
            for one in self._records(target):
                if one.offset <= after:
                    self._imported.there += 1
                    continue
                if not batch.has_room(one):
                    self._send(target, batch)
                    yield one.offset
                    batch = _Batch()
                batch.add(one)
        except DamagedExport:
            self._send(target, batch)  # what comes before the damage is whole
            raise
        if batch.lines:
            self._send(target, batch)
            yield batch.lines[-1].offset + 1

    def _send(self, target: _Target, batch: _Batch) -> None:
        try:
            self._produce(target, batch.lines)
        except (InvalidRequest, MessageTooLarge):
            self._produce(target, [one for one in batch.lines if self._can_be_sent(target, one)])

    def _produce(self, target: _Target, lines: Sequence[_ReadLine]) -> None:
        records = [one.record for one in lines]
        self._producer.produce_many(target.topic, records, partition=target.partition)
        self._imported.messages += len(records)

    def _can_be_sent(self, target: _Target, one: _ReadLine) -> bool:
        try:
            make_record(*one.record[:3], timestamp=one.record.timestamp)
        except QueueError as error:
            self._bad(self._wanted.path_of(target), one.number, error)
            return False
        return True

    def _records(self, target: _Target) -> Iterator[_ReadLine]:
        """Yield the messages of a file.

        Raises:
            DamagedExport: a line is no message, or there are too few.
        """
        path, span = self._wanted.path_of(target), target.span
        marks = self._wanted.marks(target)
        previous, messages = span.start - 1, 0
        for number, text in self._lines(path):
            try:
                line = read_line(text)
                if not previous < line.offset < span.end:
                    raise ValueError(f"offset {line.offset} is out of its place")
            except ValueError as error:
                self._bad(path, number, error)
                continue
            previous = line.offset
            messages += 1
            yield _ReadLine(number, len(text), line.offset, record_of(line, marks))
        said = self._wanted.said_of(target).messages
        if messages != said and not self._wanted.options.skip_bad:
            raise DamagedExport(f"{path} has {messages} messages, and {said} were exported")

    def _lines(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Yield lines with their numbers, from 1."""
        number = 0
        try:
            with opened(path) as file:
                while text := file.readline(LINE_BYTES_MAX):
                    number += 1
                    yield number, text
        except (EOFError, OSError) as error:  # what is compressed is cut off or damaged
            self._bad(path, number + 1, error)

    def _bad(self, path: Path, number: int, error: Exception) -> None:
        if not self._wanted.options.skip_bad:
            raise DamagedExport(
                f"{path}, line {number}: {error}; all before it was imported, and --skip-bad leaves"
                " such lines out"
            ) from error
        self._imported.bad += 1


class _Groups:
    """Brings the offsets of groups; a group that is in a partition already stays where it is."""

    def __init__(self, wanted: _Wanted, client: Client, reader: Place, imported: Imported) -> None:
        self._wanted = wanted
        self._client = client
        self._reader = reader
        self._imported = imported

    def bring(self, make: Callable[[], Place]) -> None:
        """Bring what the export has of the chosen partitions, group by group.

        Args:
            make: makes a client, which may make so many groups.
        """
        targets = {(one.plan.topic, one.partition): one for one in self._wanted.targets()}
        by_name: dict[str, list[GroupPlace]] = {}
        for place in self._wanted.plan.groups:
            if (place.topic, place.partition) in targets:
                by_name.setdefault(place.group, []).append(place)
        names = list(by_name)
        for begin in range(0, len(names), GROUPS_OF_A_CLIENT):
            maker = make()
            try:
                for name in names[begin : begin + GROUPS_OF_A_CLIENT]:
                    there = self._offsets(name)
                    for place in by_name[name]:
                        target = targets[place.topic, place.partition]
                        told = self._bring_one(maker, place, target, there)
                        self._imported.groups.append(told)
            finally:
                maker.forget()

    def _offsets(self, group: str) -> dict[tuple[str, int], int | None] | None:
        """Return where a group is in the target; None where there is none."""
        try:
            described = self._client.describe_group(group)
        except GroupNotFound:
            return None
        return {(one.topic, one.partition): one.offset for one in described.partitions}

    def _bring_one(
        self,
        maker: Place,
        place: GroupPlace,
        target: _Target,
        there: dict[tuple[str, int], int | None] | None,
    ) -> str:
        """Bring a group in a partition; return what became of it."""
        copied = Copied(self._reader, target.where, self._wanted.marks(target))
        offset = copied.place_of(place.offset)
        label = f"{place.group} {target.topic}/{target.partition}"
        present = None if there is None else there.get(target.where)
        if present is not None:
            told = "is there" if present == offset else f"stays at {present}, not {offset}"
            return f"{label} {told}"
        try:
            if there is None:
                maker.commit_group(place.group, place.kind, target.where, offset)
            else:
                only = [target.partition]
                self._client.reset_group(place.group, target.topic, to=offset, partitions=only)
        except QueueError as error:
            return f"{label} not moved: {error.code}: {error.message}"
        return f"{label} at {offset}"
