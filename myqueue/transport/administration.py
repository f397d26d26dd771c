"""What an administrator does through a manager: topics, brokers, clients and groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, overload
from urllib.parse import quote, urlencode

from myqueue.contract.errors import InvalidRequest, QueueError, UnmovedOffsets
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MAX_PAGE, MSGPACK
from myqueue.descriptions import (
    AddedBroker,
    BrokerDescription,
    ClientDescription,
    CreatedTopic,
    GroupDescription,
    GroupReset,
    GroupSummary,
    TopicDescription,
)
from myqueue.transport import forks
from myqueue.transport.blocking import encode_body
from myqueue.transport.driving import drive
from myqueue.transport.group_calls import group_path
from myqueue.transport.managers import Managers
from myqueue.transport.session import CREATION_S
from myqueue.transport.settings import Settings
from myqueue.transport.topic_names import Several, milliseconds

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

MOVE_S = 15.0
"""Partitions take 5 s at most to move a group, after 1.5 s to tell where it is."""


class TopicChanges(TypedDict, total=False):
    """What can be changed of a topic."""

    number_of_partitions: int
    retention: float | None
    retention_bytes: int | None
    retention_ms: int | None


class Administration:
    """Creates, lists, describes and deletes topics; lists and adds brokers.

    A call whose answer is lost is repeated. When the repetition is then refused because it was done
    already (TopicAlreadyExists, TopicDoesNotExist), the error's `outcome_known` is False: this very
    call may have done it.

    Args:
        settings: where the manager is, and how calls travel.
    """

    def __init__(self, settings: Settings) -> None:
        self._transport, self._clock = settings.transport, settings.clock
        self._managers = Managers(settings.addresses, config=settings.config, clock=settings.clock)
        forks.restart_in_child(self)

    @overload
    def create_topic(
        self,
        topic: str,
        number_of_partitions: int = 3,
        replication_factor: int = 3,
        *,
        retention: float | None = None,
        retention_bytes: int | None = None,
        retention_ms: int | None = None,
    ) -> CreatedTopic: ...

    @overload
    def create_topic(
        self,
        topic: Several,
        number_of_partitions: int = 3,
        replication_factor: int = 3,
        *,
        retention: float | None = None,
        retention_bytes: int | None = None,
        retention_ms: int | None = None,
    ) -> list[CreatedTopic]: ...

    def create_topic(
        self,
        topic: str | Several,
        number_of_partitions: int = 3,
        replication_factor: int = 3,
        *,
        retention: float | None = None,
        retention_bytes: int | None = None,
        retention_ms: int | None = None,
    ) -> CreatedTopic | list[CreatedTopic]:
        """Create a topic, or several one after the other; each can be used when this returns.

        Args:
            topic: 1 to 249 of A-Z a-z 0-9 . _ -, or a list of such names. When one of a list
                fails, those before it exist; `details["done"]` of the error has them.
            number_of_partitions: at least 1.
            replication_factor: copies of each partition.
            retention: age in seconds after which messages may be deleted; None keeps them.
            retention_bytes: size of a partition above which its oldest may be deleted.
            retention_ms: older name of `retention`, in milliseconds.

        Returns:
            What was created; a list of that for a list.

        Raises:
            TopicAlreadyExists: there is one of this name.
            InvalidTopicName: the name has other characters.
            NotEnoughBrokers: fewer brokers are alive and have room than copies are asked for.
            ManagerNotFound: no manager answered.
        """
        fields = {
            "number_of_partitions": number_of_partitions,
            "replication_factor": replication_factor,
            "retention_ms": retention_ms
            if retention is None
            else milliseconds("retention", retention),
            "retention_bytes": retention_bytes,
        }

        def create(name: str) -> CreatedTopic:
            told = self._call("POST", "/topics", {"topic": name, **fields}, timeout_s=CREATION_S)
            return CreatedTopic.of(told)

        return _for_each(topic, create)

    def list_topics(self) -> list[str]:
        """Return the names of all topics, oldest first."""
        return self._list("topics")

    def describe_topic(self, topic: str) -> TopicDescription:
        """Return a topic's partitions with leaders, replicas and offsets, and its settings.

        Raises:
            TopicDoesNotExist: there is none.
        """
        return TopicDescription.of(self._call("GET", topic_path(topic)))

    def update_topic(self, /, topic: str, **settings: Unpack[TopicChanges]) -> TopicDescription:
        """Change `number_of_partitions` (only upward), `retention` or `retention_bytes`.

        `retention` is in seconds, its older name `retention_ms` in milliseconds; None means without
        limit. What is left out stays.
        """
        fields: dict[str, Any] = dict(settings)
        if "retention" in fields:
            seconds = fields.pop("retention")
            fields["retention_ms"] = None if seconds is None else milliseconds("retention", seconds)
        answer = self._call("PATCH", topic_path(topic), fields, keep_none=True)
        return TopicDescription.of(answer)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with its messages.

        Raises:
            TopicDoesNotExist: there is none.
        """
        self._call("DELETE", topic_path(topic), timeout_s=CREATION_S)

    def list_brokers(self) -> list[str]:
        """Return the addresses of all brokers."""
        return self._list("brokers")

    def describe_brokers(self) -> list[BrokerDescription]:
        """Return the brokers with state, last heartbeat and counts."""
        return [BrokerDescription.of(row) for row in self._list("brokers", detail="1")]

    @overload
    def add_broker(self, broker_address: str) -> AddedBroker: ...

    @overload
    def add_broker(self, broker_address: Several) -> list[AddedBroker]: ...

    def add_broker(self, broker_address: str | Several) -> AddedBroker | list[AddedBroker]:
        """Announce a broker, or several; one that starts does it by itself.

        Raises:
            BrokerAlreadyPresent: it is known; `details["done"]` has those of a list before it.
        """
        return _for_each(
            broker_address,
            lambda one: AddedBroker.of(self._call("POST", "/brokers", {"broker_address": one})),
        )

    def list_clients(
        self, kind: Literal["producers", "consumers"], topic: str | None = None
    ) -> list[ClientDescription]:
        """Return the registered clients.

        Args:
            kind: producers or consumers.
            topic: only those of one topic.
        """
        if kind not in ("producers", "consumers"):
            raise InvalidRequest(f"kind must be producers or consumers, not {kind!r}", field="kind")
        rows = self._list(kind, **({} if topic is None else {"topic": topic}))
        return [ClientDescription.of(row) for row in rows]

    def consumer_sizes(self, topic: str, consumer_id: int) -> dict[int, int]:
        """Return how many messages each partition of a topic has left for a consumer.

        Raises:
            TopicDoesNotExist: there is no such topic.
            UnauthorizedException: it has no such consumer.
        """
        path = f"/size?topic={quote(topic, safe='')}&consumer_id={consumer_id}"
        sizes = self._call("GET", path)["sizes"]
        return {int(partition): int(size) for partition, size in sizes.items()}

    def list_groups(
        self, *, kind: Literal["consumers", "workers"] | None = None, topic: str | None = None
    ) -> list[str]:
        """Return the names of the groups, of consumers and of queue workers.

        Args:
            kind: only those of one kind.
            topic: only those that read it.
        """
        given = {"kind": kind, "topic": topic}
        return self._list("groups", **{name: one for name, one in given.items() if one is not None})

    def describe_groups(self) -> list[GroupSummary]:
        """Return the groups, each with `kind`, `members` (a number), `topics`, and how far it is.

        That is `lag` in messages and `age_ms` of the oldest of them, and how many messages of
        workers are `visible`, `in_flight`, `delayed` and `dead`; None where no broker told.
        """
        return [GroupSummary.of(row) for row in self._list("groups", detail="1")]

    def describe_group(self, group: str) -> GroupDescription:
        """Return a group's generation, members, and where it is in each partition.

        Raises:
            GroupNotFound: there is none.
        """
        described: dict[str, Any] = self._call("GET", group_path(group))
        while described.get("next") is not None:
            page = self._call("GET", f"{group_path(group)}?after={quote(described['next'])}")
            described["members"] += page["members"]
            described["next"] = page["next"]
        return GroupDescription.of(described)

    def reset_group(
        self,
        group: str,
        topic: str,
        *,
        to: Literal["earliest", "latest"] | int | datetime | None = None,
        shift: int | None = None,
        partitions: Sequence[int] | None = None,
        dry_run: bool = False,
        force: bool = False,
    ) -> GroupReset:
        """Move the offsets of a group, of consumers or of workers, in a topic.

        Give either `to` or `shift`. What lies outside of a partition means its nearest end.

        Args:
            group: its name.
            topic: in which it is moved.
            to: `earliest`, `latest`, an offset, or a time: the first message stored at or after it.
            shift: so many messages on, or back when it is negative. Such a call is not repeated
                when its answer is lost.
            partitions: only these; all of the topic when left out.
            dry_run: move nothing, tell what would be.
            force: send the members of the group away; they join again, and go on where it is then.

        Returns:
            What was or would be done in each partition; `before` is None where the group was not
            yet.

        Raises:
            UnmovedOffsets: not every partition took it; `details["partitions"]` has all of them,
                with `moved` False and a `reason` where one refused, None where that is not known.
            GroupActive: it has members, or its workers have messages out.
            GroupNotFound: there is none.
            TopicDoesNotExist: there is no such topic.
            PartitionNotFound: the topic has no such partition.
            NoLeader: a partition does not answer; nothing was moved.
        """
        fields = {
            "topic": topic,
            "to": to if isinstance(to, str) else None,
            "timestamp": int(to.timestamp() * 1000) if isinstance(to, datetime) else None,
            "offset": to if isinstance(to, int) else None,
            "shift": shift,
            "partitions": None if partitions is None else list(partitions),
            "dry_run": dry_run,
            "force": force,
        }
        answer = self._call(
            "PUT",
            group_path(group, "offsets"),
            fields,
            timeout_s=MOVE_S,
            repeatable=shift is None or dry_run,
        )
        reset = GroupReset.of(answer)
        failed = [one for one in reset.partitions if one.moved is not True and not dry_run]
        if failed:
            told = "; ".join(f"{topic}/{one.partition}: {one.reason}" for one in failed)
            raise UnmovedOffsets(
                f"group {group!r} was not moved in all partitions: {told}",
                partitions=reset.partitions,
            )
        return reset

    def delete_group(self, group: str) -> None:
        """Have the cluster forget a group that has no members, and its offsets.

        Raises:
            InvalidRequest: it has members.
        """
        self._call("DELETE", group_path(group), timeout_s=CREATION_S)

    def __repr__(self) -> str:
        """Return the kind of client, and where its managers are."""
        return f"<{type(self).__name__} at {', '.join(self._managers.addresses)}>"

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def restart_after_fork(self) -> None:
        """Use own connections in the child."""
        self._transport.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _list(self, kind: str, /, **filters: str) -> list[Any]:
        return list(self._rows(kind, **filters))

    def _rows(self, kind: str, /, **filters: str) -> Iterator[Any]:
        """Yield all rows of a list, page by page until the manager says that it has no more."""
        after: str | None = ""
        while after is not None:
            query = urlencode({**filters, "limit": MAX_PAGE, "after": after})
            answer = self._call("GET", f"/{kind}?{query}")
            yield from answer[kind.replace("-", "_")]
            after = answer.get("next")

    def _call(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        keep_none: bool = False,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        body = b"" if fields is None else encode_body(fields, keep_none=keep_none)
        request = Request(method, path, body=body, content_type=MSGPACK, accept=MSGPACK)
        if repeatable:
            flow = self._managers.call_patiently(request, timeout_s=timeout_s)
        else:
            flow = self._managers.call_once(request, timeout_s=timeout_s)
        return drive(flow, self._transport, self._clock)


def _for_each(names: str | Several, call: Callable[[str], T]) -> T | list[T]:
    """Make a call for a name, or for each of a list in turn.

    Raises:
        QueueError: the first failure of a list; `details["done"]` names those before it.
    """
    if not isinstance(names, list | tuple):
        return call(names)
    answers: list[T] = []
    for name in names:
        try:
            answers.append(call(name))
        except QueueError as error:
            error.details["done"] = list(names[: len(answers)])
            raise
    return answers


def topic_path(topic: str) -> str:
    """Return the path of a topic."""
    return f"/topics/{quote(topic, safe='')}"
