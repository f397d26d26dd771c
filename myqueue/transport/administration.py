"""What an administrator does through a manager: topics, brokers, clients and groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload
from urllib.parse import quote, urlencode

from myqueue.contract.errors import QueueError, UnmovedOffsets
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MAX_PAGE, MSGPACK
from myqueue.transport import forks
from myqueue.transport.blocking import encode_body
from myqueue.transport.driving import drive
from myqueue.transport.group_calls import group_path
from myqueue.transport.managers import Managers
from myqueue.transport.settings import Settings
from myqueue.transport.topic_names import Several

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

CREATION_S = 10.0
"""A manager answers a creation when every partition has a leader, at most 5 s later."""


MOVE_S = 15.0
"""Partitions take 5 s at most to move a group, after 1.5 s to tell where it is."""


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
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> dict[str, Any]: ...

    @overload
    def create_topic(
        self,
        topic: Several,
        number_of_partitions: int = 3,
        replication_factor: int = 3,
        *,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> list[dict[str, Any]]: ...

    def create_topic(
        self,
        topic: str | Several,
        number_of_partitions: int = 3,
        replication_factor: int = 3,
        *,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Create a topic, or several one after the other; each can be used when this returns.

        Args:
            topic: 1 to 249 of A-Z a-z 0-9 . _ -, or a list of such names. When one of a list
                fails, those before it exist; `details["done"]` of the error has them.
            number_of_partitions: at least 1.
            replication_factor: copies of each partition.
            retention_ms: age after which messages may be deleted; None keeps them.
            retention_bytes: size of a partition above which its oldest may be deleted.

        Returns:
            The manager's answer: `message`, `topic`, `partitions`; a list of them for a list.

        Raises:
            TopicAlreadyExists: there is one of this name.
            InvalidTopicName: the name has other characters.
            NotEnoughBrokers: fewer brokers are alive and have room than copies are asked for.
            ManagerNotFound: no manager answered.
        """
        fields = {
            "number_of_partitions": number_of_partitions,
            "replication_factor": replication_factor,
            "retention_ms": retention_ms,
            "retention_bytes": retention_bytes,
        }

        def create(name: str) -> dict[str, Any]:
            return self._call("POST", "/topics", {"topic": name, **fields}, timeout_s=CREATION_S)

        return _for_each(topic, create)

    def list_topics(self) -> list[str]:
        """Return the names of all topics, oldest first."""
        return self._list("topics")

    def describe_topic(self, topic: str) -> dict[str, Any]:
        """Return a topic's partitions with leaders, replicas and offsets, and its settings.

        Raises:
            TopicDoesNotExist: there is none.
        """
        return self._call("GET", _topic_path(topic))

    def update_topic(self, /, topic: str, **settings: int | None) -> dict[str, Any]:
        """Change `number_of_partitions` (only upward), `retention_ms` or `retention_bytes`.

        None for a retention means without limit.
        """
        return self._call("PATCH", _topic_path(topic), dict(settings), keep_none=True)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with its messages.

        Raises:
            TopicDoesNotExist: there is none.
        """
        self._call("DELETE", _topic_path(topic), timeout_s=CREATION_S)

    def list_brokers(self) -> list[str]:
        """Return the addresses of all brokers."""
        return self._list("brokers")

    def describe_brokers(self) -> list[dict[str, Any]]:
        """Return the brokers with state, last heartbeat and counts."""
        return self._list("brokers", detail="1")

    @overload
    def add_broker(self, broker_address: str) -> dict[str, Any]: ...

    @overload
    def add_broker(self, broker_address: Several) -> list[dict[str, Any]]: ...

    def add_broker(self, broker_address: str | Several) -> dict[str, Any] | list[dict[str, Any]]:
        """Announce a broker, or several; one that starts does it by itself.

        Raises:
            BrokerAlreadyPresent: it is known; `details["done"]` has those of a list before it.
        """
        return _for_each(
            broker_address, lambda one: self._call("POST", "/brokers", {"broker_address": one})
        )

    def list_clients(self, kind: str, topic: str | None = None) -> list[dict[str, Any]]:
        """Return the registered clients.

        Args:
            kind: producers or consumers.
            topic: only those of one topic.
        """
        return self._list(kind, **({} if topic is None else {"topic": topic}))

    def consumer_sizes(self, topic: str, consumer_id: int) -> dict[int, int]:
        """Return how many messages each partition of a topic has left for a consumer.

        Raises:
            TopicDoesNotExist: there is no such topic.
            UnauthorizedException: it has no such consumer.
        """
        path = f"/size?topic={quote(topic, safe='')}&consumer_id={consumer_id}"
        sizes = self._call("GET", path)["sizes"]
        return {int(partition): int(size) for partition, size in sizes.items()}

    def list_groups(self) -> list[str]:
        """Return the names of the groups, of consumers and of queue workers."""
        return self._list("groups")

    def describe_groups(self) -> list[dict[str, Any]]:
        """Return the groups, each with `kind`, `members` (a number), `topics`, and how far it is.

        That is `lag` in messages and `age_ms` of the oldest of them, and how many messages of
        workers are `visible`, `in_flight`, `delayed` and `dead`; None where no broker told.
        """
        return self._list("groups", detail="1")

    def describe_group(self, group: str) -> dict[str, Any]:
        """Return a group's generation, members, and where it is in each partition.

        Returns:
            `group`, `kind`, `generation`, `members` (each with `member_id`, `topics`,
            `assignment`, `last_heartbeat`, `session_timeout_ms`) and `partitions` (each with
            `topic`, `partition`, `member_id`, `offset`, `high_watermark`, `lag`, `age_ms`, and of
            workers `unsettled`, `visible`, `in_flight`, `delayed` and `dead`; None where nobody has
            it or the partition does not answer).

        Raises:
            GroupNotFound: there is none.
        """
        described: dict[str, Any] = self._call("GET", group_path(group))
        while described.get("next") is not None:
            page = self._call("GET", f"{group_path(group)}?after={quote(described['next'])}")
            described["members"] += page["members"]
            described["next"] = page["next"]
        return described

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
    ) -> dict[str, Any]:
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
            `group`, `topic`, `dry_run`, `members` (how many the group had) and `partitions`, each
            with `partition`, `before` (None where the group was not yet), `after` and `moved`.

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
        moves = answer["partitions"]
        failed = [one for one in moves if one["moved"] is not True and not dry_run]
        if failed:
            told = "; ".join(f"{topic}/{one['partition']}: {one.get('reason')}" for one in failed)
            raise UnmovedOffsets(
                f"group {group!r} was not moved in all partitions: {told}", partitions=moves
            )
        return answer

    def delete_group(self, group: str) -> None:
        """Have the cluster forget a group that has no members, and its offsets.

        Raises:
            InvalidRequest: it has members.
        """
        self._call("DELETE", group_path(group), timeout_s=CREATION_S)

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

    def _list(self, kind: str, **filters: str) -> list[Any]:
        """Return all rows of a list, page by page until the manager says that it has no more."""
        rows: list[Any] = []
        after: str | None = ""
        while after is not None:
            query = urlencode({**filters, "limit": MAX_PAGE, "after": after})
            answer = self._call("GET", f"/{kind}?{query}")
            rows += answer[kind]
            after = answer.get("next")
        return rows

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


def _topic_path(topic: str) -> str:
    return f"/topics/{quote(topic, safe='')}"
