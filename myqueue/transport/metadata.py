"""The client's metadata of topics, leaders and brokers, and the route of a call. Pure.

`Metadata` remembers leaders, brokers that are out of reach, and what is stale. `Route` chooses
where a call is tried: the leader first, then the other replicas (whose NOT_LEADER names the
leader), at last a manager, which passes the call on. Without a manager the brokers are still tried.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import (
    BrokerUnreachable,
    Internal,
    ManagerNotFound,
    PartitionNotFound,
    QueueError,
    TopicDoesNotExist,
)
from myqueue.transport.retry import leader_address

MANAGER = ""
"""The address that stands for "through the manager"."""
AVOID_GROWTH_MAX = 32
"""How many times its first pause a broker is avoided that is out of reach again and again."""


class PartitionView(NamedTuple):
    """One partition as last heard of."""

    leader: str
    """Address, empty when unknown."""
    replicas: tuple[str, ...]
    """Addresses of the brokers that hold it."""


class TopicView(NamedTuple):
    """One topic as last heard of; `partitions[i]` is partition i."""

    topic: str
    partitions: tuple[PartitionView, ...]


def topic_view(body: dict[str, Any]) -> TopicView:
    """Read the answer of `GET /topics/{topic}`.

    Raises:
        Internal: it has another shape.
    """
    try:
        rows = sorted(body["partitions"], key=lambda row: int(row["partition"]))
        views = tuple(_partition_view(row) for row in rows)
        if [int(row["partition"]) for row in rows] != list(range(len(rows))) or not rows:
            raise ValueError("partitions are not numbered from 0")
        return TopicView(str(body["topic"]), views)
    except (KeyError, TypeError, ValueError) as error:
        raise Internal(f"a manager described a topic in an unknown shape: {error!r}") from error


def _partition_view(row: dict[str, Any]) -> PartitionView:
    """Read one partition; `leader` is an object, a broker id, an address or nothing."""
    addresses = {
        replica.get("broker_id"): str(replica["address"])
        for replica in row.get("replicas") or ()
        if replica.get("address")
    }
    leader = row.get("leader")
    if isinstance(leader, dict):
        leader = leader.get("address") or leader.get("broker_id")
    address = leader if isinstance(leader, str) else addresses.get(leader, "")
    return PartitionView(address, tuple(addresses.values()))


def serving_replica(body: dict[str, Any], topic: str, partition: int) -> bool:
    """Return whether a broker's answer of `GET /partitions` says that it leads a partition."""
    rows = body.get("partitions")
    return isinstance(rows, list) and any(
        isinstance(row, dict)
        and row.get("topic") == topic
        and row.get("partition") == partition
        and row.get("serves") is True
        for row in rows
    )


class Metadata:
    """What the client remembers of the cluster. Not thread-safe: its owner holds a lock.

    Args:
        max_age_s: after this a topic is asked for again.
        avoid_s: first pause for a broker out of reach; doubles with every further failure.
    """

    def __init__(self, *, max_age_s: float, avoid_s: float) -> None:
        self._max_age_s = max_age_s
        self._avoidance = Backoff(avoid_s, avoid_s * AVOID_GROWTH_MAX)
        self._views: dict[str, TopicView] = {}
        self._fresh_until_s: dict[str, float] = {}
        self._avoided_until_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def store(self, view: TopicView, *, now_s: float) -> None:
        """Remember a topic as a manager just described it."""
        self._views[view.topic] = view
        self._fresh_until_s[view.topic] = now_s + self._max_age_s

    def view(self, topic: str) -> TopicView | None:
        """Return the topic as last heard of, however old."""
        return self._views.get(topic)

    def fresh_view(self, topic: str, *, now_s: float) -> TopicView | None:
        """Return the topic, or None when it is to be asked for."""
        is_fresh = now_s < self._fresh_until_s.get(topic, float("-inf"))
        return self._views.get(topic) if is_fresh else None

    def postpone(self, topic: str, *, until_s: float) -> None:
        """Keep the stale view for a while longer: no manager answers."""
        self._fresh_until_s[topic] = until_s

    def mark_stale(self, topic: str) -> None:
        """Have the topic asked for before its next use."""
        self._fresh_until_s.pop(topic, None)

    def forget(self, topic: str) -> None:
        """Drop a topic that does not exist any more."""
        self._views.pop(topic, None)
        self._fresh_until_s.pop(topic, None)

    def partition(self, topic: str, partition: int) -> PartitionView:
        """Return one partition.

        Raises:
            PartitionNotFound: the topic has fewer.
        """
        view = self._views[topic]
        if not 0 <= partition < len(view.partitions):
            raise PartitionNotFound(
                f"topic {topic!r} has partitions 0 to {len(view.partitions) - 1}, not {partition}"
            )
        return view.partitions[partition]

    def learn_leader(self, topic: str, partition: int, address: str) -> None:
        """Remember who leads; an empty address when nobody is known to."""
        view = self._views.get(topic)
        if view is None or not 0 <= partition < len(view.partitions):
            return
        if view.partitions[partition].leader == address:
            return
        partitions = list(view.partitions)
        partitions[partition] = partitions[partition]._replace(leader=address)
        self._views[topic] = view._replace(partitions=tuple(partitions))

    def broker_failed(self, address: str, *, now_s: float) -> None:
        """Avoid a broker that could not be reached, longer with every failure in a row."""
        failures = self._failures.get(address, 0)
        self._failures[address] = failures + 1
        self._avoided_until_s[address] = now_s + self._avoidance.pause_s(failures)

    def broker_answered(self, address: str) -> None:
        """Forget that a broker was out of reach."""
        if self._failures:
            self._failures.pop(address, None)
            self._avoided_until_s.pop(address, None)

    def avoids(self, address: str, *, now_s: float) -> bool:
        """Return True while a broker counts as out of reach."""
        return now_s < self._avoided_until_s.get(address, float("-inf"))

    def avoid_nobody(self) -> None:
        """Try every broker again: there is no other way left."""
        self._avoided_until_s.clear()


class Route:
    """The route of one call to its partition's leader; `next` and `failed` take turns."""

    def __init__(self, metadata: Metadata, topic: str, partition: int) -> None:
        self._metadata = metadata
        self._topic = topic
        self._partition = partition
        self._tried: set[str] = set()

    def next(self, *, now_s: float) -> str:
        """Return the broker to try, or `MANAGER`.

        Raises:
            PartitionNotFound: there is no such partition.
        """
        view = self._metadata.partition(self._topic, self._partition)
        for address in (view.leader, *view.replicas):
            if (
                address
                and address not in self._tried
                and not self._metadata.avoids(address, now_s=now_s)
            ):
                return address
        self._tried.clear()
        return MANAGER

    def failed(self, address: str, error: QueueError, *, now_s: float) -> None:
        """Learn from a failed try at `address`."""
        metadata = self._metadata
        if isinstance(error, TopicDoesNotExist):
            metadata.forget(self._topic)
            return
        if address == MANAGER:
            if isinstance(error, ManagerNotFound):
                metadata.avoid_nobody()
        elif isinstance(error, BrokerUnreachable):
            metadata.broker_failed(address, now_s=now_s)
        if not error.refreshes_metadata:
            return
        self._tried.add(address)
        leader = leader_address(error)
        if leader and leader != address:
            self._tried.discard(leader)
            metadata.learn_leader(self._topic, self._partition, leader)
            return
        metadata.mark_stale(self._topic)
