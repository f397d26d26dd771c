"""Export: the messages of topics and the offsets of groups, into a folder.

The end is that of the moment at which it began: each partition is read up to the high watermark
that it had then. Memory is bounded by what one answer of a broker and `PART_BYTES` take.
"""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from myqueue.client import Client
from myqueue.contract.errors import (
    DamagedExport,
    GroupNotFound,
    InvalidRequest,
    PartitionNotFound,
    TopicDoesNotExist,
)
from myqueue.descriptions import TopicDescription, TopicSettings
from myqueue.moving.folder import (
    Appended,
    FileState,
    Folder,
    GroupPlace,
    Plan,
    Span,
    TopicPlan,
    forget_states,
)
from myqueue.moving.lines import lines_of
from myqueue.moving.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myqueue.config import ClientConfig

PART_BYTES = 4 << 20
"""Lines that are written and synced at once."""
PART_SECONDS = 5.0
"""At the latest, so that little has to be read again."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported, and how."""

    topics: Sequence[str] = ()
    """Names; empty for all."""
    partitions: Sequence[int] = ()
    """Of each topic; empty for all."""
    since_ms: int | None = None
    """Only what was stored at or after it, in milliseconds since 1970."""
    until_ms: int | None = None
    """Only what was stored before it."""
    compressed: bool = False
    """Files are compressed with gzip."""
    said: Sequence[str] = ()
    """All of this as the user wrote it: an export only goes on under the same words."""


class Step(NamedTuple):
    """How far a move is in a partition."""

    topic: str
    partition: int
    done: int
    """Offsets dealt with, of all partitions together."""
    total: int
    """Offsets in all."""


@dataclass
class Summary:
    """What was moved, in all runs together."""

    topics: int = 0
    messages: int = 0
    groups: int = 0
    bytes: int = 0
    corrupt: int = 0
    """Messages that nobody can decode."""
    missed: int = 0
    """Messages that retention deleted before they were read."""


def export(
    folder: Path,
    address: str,
    options: ExportOptions,
    *,
    is_over: Callable[[], bool] = lambda: False,
    config: ClientConfig | None = None,
) -> Iterator[Step]:
    """Export topics, or go on with an export that was interrupted; the folder then is complete.

    Args:
        folder: where to; made when it is missing. One that is complete is left as it is.
        address: a manager's address, or several.
        options: what to export.
        is_over: True to stop after the part in hand; what is written stays, and counts.
        config: settings of the client.

    Yields:
        How far it is, after each part.

    Raises:
        InvalidRequest: the folder is of an export that was asked for otherwise.
        TopicDoesNotExist: there is no such topic.
        DamagedExport: what the folder has is damaged, or its topic was made anew meanwhile.
        QueueError: a partition did not answer in time; the export can go on later.
    """
    place = Folder(folder)
    with place.locked(), Client(address, config=config) as client:
        plan = place.plan()
        if plan is not None and list(plan.asked) != list(options.said):
            raise InvalidRequest(
                f"{folder} is of an export that was asked for as"
                f" {' '.join(plan.asked) or 'everything'}: say the same, or take another folder",
                field="folder",
            )
        if plan is not None and plan.complete:
            forget_states(place)
            return
        names = _topics(client, options) if plan is None else [one.topic for one in plan.topics]
        reader = Place(names, address, config=config)
        try:
            if plan is None:
                plan = _plan(client, reader, names, options)
                place.store(plan)
            else:
                _require_same(client, plan)
            yield from _export_all(place, plan, reader, is_over)
        finally:
            reader.forget()


def summary_of(folder: Path) -> Summary:
    """Return what a complete export has.

    Raises:
        DamagedExport: there is none, or it is not complete.
    """
    plan = Folder(folder).plan()
    if plan is None or not plan.complete:
        raise DamagedExport(f"{folder} has no complete export: run it again")
    files = plan.files.values()
    return Summary(
        topics=len(plan.topics),
        messages=sum(one.messages for one in files),
        groups=len({one.group for one in plan.groups}),
        bytes=sum(one.bytes for one in files),
        corrupt=sum(one.corrupt for one in files),
        missed=sum(one.missed for one in files),
    )


def _topics(client: Client, options: ExportOptions) -> list[str]:
    present = client.list_topics()
    for name in options.topics:
        if name not in present:
            raise TopicDoesNotExist(f"there is no topic {name!r}")
    return list(options.topics) or present


def _plan(client: Client, reader: Place, names: Sequence[str], options: ExportOptions) -> Plan:
    # The groups first: no offset of theirs is then beyond the end that is exported.
    groups = _groups(client, frozenset(names))
    return Plan(
        name=f"export-{secrets.token_hex(6)}",
        made_at=int(time.time() * 1000),
        asked=list(options.said),
        compressed=options.compressed,
        topics=[_topic_plan(client, reader, name, options) for name in names],
        groups=[
            one for one in groups if not options.partitions or one.partition in options.partitions
        ],
    )


def _topic_plan(client: Client, reader: Place, name: str, options: ExportOptions) -> TopicPlan:
    described = client.describe_topic(name)
    count = described.number_of_partitions
    for index in options.partitions:
        if index >= count:
            raise PartitionNotFound(f"topic {name!r} has partitions 0 to {count - 1}, not {index}")
    spans = {}
    for index in options.partitions or range(count):
        start, end = reader.range_of(name, index)
        if options.until_ms is not None:
            end = min(end, reader.offset_at(name, index, options.until_ms))
        if options.since_ms is not None:
            start = max(start, reader.offset_at(name, index, options.since_ms))
        spans[index] = Span(min(start, end), end)
    settings = _settings(described)
    return TopicPlan(
        topic=name,
        number_of_partitions=count,
        replication_factor=settings.replication_factor or 1,
        retention_ms=settings.retention_ms,
        retention_bytes=settings.retention_bytes,
        created_at=settings.created_at,
        partitions=spans,
    )


def _settings(described: TopicDescription) -> TopicSettings:
    """Return the settings of a topic; without any where the manager, as one in memory, has none."""
    return described.settings or TopicSettings()


def _groups(client: Client, topics: frozenset[str]) -> list[GroupPlace]:
    """Return where the groups are in some topics."""
    found = []
    for name in client.list_groups():
        try:
            group = client.describe_group(name)
        except GroupNotFound:  # it went meanwhile
            continue
        found += [
            GroupPlace(name, group.kind or "consumers", one.topic, one.partition, one.offset)
            for one in group.partitions
            if one.topic in topics and one.offset is not None
        ]
    return found


def _require_same(client: Client, plan: Plan) -> None:
    for one in plan.topics:
        if _settings(client.describe_topic(one.topic)).created_at != one.created_at:
            raise DamagedExport(
                f"topic {one.topic!r} was deleted and made anew since the export began: take"
                " another folder"
            )


def _export_all(
    folder: Folder, plan: Plan, reader: Place, is_over: Callable[[], bool]
) -> Iterator[Step]:
    spans = [
        (one.topic, index, span) for one in plan.topics for index, span in one.partitions.items()
    ]
    total = sum(span.end - span.start for _, _, span in spans)
    done = 0
    files: dict[str, FileState] = {}
    for topic, index, span in spans:
        path = folder.file_of(topic, index, compressed=plan.compressed)
        with closing(Appended(path, span.start, compressed=plan.compressed)) as file:
            for state in _export_partition(reader, (topic, index), span, file):
                yield Step(topic, index, done + state.next_offset - span.start, total)
                if is_over():
                    return
            files[folder.name_of(path)] = file.state
        done += span.end - span.start
    plan.files = files
    plan.complete = True
    folder.store(plan)
    forget_states(folder)


def _export_partition(
    reader: Place, where: tuple[str, int], span: Span, file: Appended
) -> Iterator[FileState]:
    """Read a partition into its file; yield how far it is after each part."""
    if file.state.next_offset == span.end:
        return
    state = _copy(file.state)
    parts: list[bytes] = []
    size, began = 0, time.monotonic()
    for messages, answer in reader.between(*where, state.next_offset, span.end):
        if isinstance(answer, int):
            state.missed += answer
            state.next_offset += answer
            continue
        lines = lines_of(messages)
        parts.append(lines)
        size += len(lines)
        state.messages += len(messages)
        until = min(answer.next_offset, span.end)
        state.corrupt += until - state.next_offset - len(messages)
        state.next_offset = until
        if size >= PART_BYTES or time.monotonic() - began > PART_SECONDS:
            file.append(b"".join(parts), _copy(state))
            yield file.state
            parts, size, began = [], 0, time.monotonic()
    if state.next_offset != span.end:
        raise DamagedExport(
            f"{where[0]}/{where[1]} ends at {state.next_offset}, and had messages before"
            f" {span.end} when the export began"
        )
    file.append(b"".join(parts), _copy(state))
    yield file.state


def _copy(state: FileState) -> FileState:
    return FileState(**{name: getattr(state, name) for name in state.__struct_fields__})
