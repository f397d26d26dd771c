"""A cluster that messages are moved from or to: its partitions and the groups that read them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from myqueue.consumer.core import ConsumerCore
from myqueue.contract.errors import OffsetOutOfRange
from myqueue.contract.inputs import MAX_FETCH_BYTES
from myqueue.transport.blocking import read_body
from myqueue.transport.client_base import BlockingClient
from myqueue.transport.group_calls import by_time_call, commit_call
from myqueue.transport.session import Session
from myqueue.transport.settings import Settings, one_address, with_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from myqueue.config import ClientConfig
    from myqueue.results import Fetched, Message

MEMBERS_GENERATION = 1
"""Of a group of consumers that nobody has joined yet: any member's is at least that."""
WORKERS_GENERATION = 0
"""Commits under it leave a group to workers."""
WAIT_S = 1.0
"""How long a broker waits for messages that are there, if not yet on its own disk."""
LAGGING_S = 60.0
"""So long without any of them, and they are taken for lost."""


class Place(BlockingClient[ConsumerCore]):
    """A reader of partitions that moves no cursor.

    Args:
        topics: names; they must exist.
        address: a manager's address, or several.
        config: settings.

    Raises:
        TopicDoesNotExist: a topic is unknown.
        ManagerNotFound: no manager answered.
    """

    def __init__(
        self, topics: str | Sequence[str], address: str, *, config: ClientConfig | None = None
    ) -> None:
        settings = Settings(one_address(address, {}), with_token(config, {}), None, None)
        session = Session(
            "consumer",
            settings.addresses,
            config=settings.config,
            clock=settings.clock,
            make_lock=settings.make_lock,
            register_fields={"start": "latest"},
        )
        super().__init__(ConsumerCore(session), settings, topics)

    def forget(self) -> None:
        """Have the cluster forget this reader, and close it.

        Raises:
            ManagerNotFound: no manager answered in time.
        """
        self._run(self._core.forget())
        self.close()

    def range_of(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first stored offset, and the one after the last that a quorum has.

        Raises:
            QueueError: the partition did not answer in time.
        """
        first = self.offset_at(topic, partition, 0)
        end = self._run(self._core.fetcher.high_watermark((topic, partition)))
        return first, max(first, end)

    def offset_at(self, topic: str, partition: int, timestamp: int) -> int:
        """Return the first offset that was stored at or after a time, else the end.

        Args:
            topic: its name.
            partition: its index.
            timestamp: milliseconds since 1970.
        """
        call = by_time_call((topic, partition), timestamp)
        session = self._core.session
        body = self._run(session.at_leader(call, session.attempts(), read_body))
        return int(body["offset"])

    def between(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        *,
        max_bytes: int = MAX_FETCH_BYTES // 4,
    ) -> Iterator[tuple[list[Message], Fetched | int]]:
        """Yield the messages of a range as they come, with the answer that they came in.

        Where retention was faster it goes on at the first message that is left, and yields no
        message and how many were missed.

        Args:
            topic: its name.
            partition: its index.
            start: the first offset.
            end: the offset after the last; below or at the high watermark. It may end before,
                where the partition has lost its end.
            max_bytes: about how much an answer brings; a batch at least.

        Raises:
            OffsetOutOfRange: it has lost its end.
            QueueError: it did not answer in time.
        """
        patience_s = time.monotonic() + LAGGING_S
        while start < end:
            try:
                found = self._run(
                    self._core.fetcher.fetch(
                        topic, partition, start, max_bytes=max_bytes, wait_ms=int(WAIT_S * 1000)
                    )
                )
            except OffsetOutOfRange as error:
                first = int(error.details.get("log_start_offset", -1))
                if first > start:
                    yield [], min(first, end) - start
                    start = first
                elif time.monotonic() > patience_s:
                    raise
                else:
                    time.sleep(WAIT_S)
                continue
            if found.next_offset <= start:
                if time.monotonic() > patience_s:
                    return
                continue
            messages = found.messages
            if found.next_offset > end:
                messages = [one for one in messages if one.offset < end]
            yield messages, found
            start = found.next_offset
            patience_s = time.monotonic() + LAGGING_S

    def commit_group(
        self,
        group: str,
        kind: Literal["consumers", "workers"],
        where: tuple[str, int],
        offset: int,
    ) -> None:
        """Make a group begin at an offset of a partition where it has not been yet.

        Raises:
            IllegalGeneration: somebody reads in it.
            TooManyGroups: this client made as many groups as one may.
            QueueError: the partition did not answer in time.
        """
        generation = MEMBERS_GENERATION if kind == "consumers" else WORKERS_GENERATION
        session = self._core.session
        call = commit_call(
            where, group, generation, offset=offset, timeout_ms=session.config.request_timeout_ms
        )
        self._run(session.at_leader(call, session.attempts(), read_body))
