"""What the services of a broker need of the engine and of the link to the managers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from http_base.cluster import MembersAnswer
    from raft_app.core.types import Member, Membership
    from raft_app.engine.group import Group
    from raft_app.engine.replica_changes import ReplicaChange
    from raft_app.engine.slow_disk import SlowDisk
    from raft_app.engine.watchdog import DiskSpace, Watchdog
    from raft_app.storage.storage import BrokerIdentity, GroupSpec, PeerAddress, StoredBatch
    from raft_app.storage.stream import StorageStream


class GroupChanges(Protocol):
    """What makes and drops groups, `raft_app.engine.replicas.Replicas`."""

    changes: int
    """How often a group came or went; while it stays, the groups are the same."""


class Replication(Protocol):
    """The engine, as `raft_app.engine` has it; its methods raise what they say there."""

    broker_id: int
    failure: asyncio.Future[None]
    """Done with an exception when the storage failed."""
    watchdog: Watchdog
    disk: DiskSpace
    slow_disk: SlowDisk
    stream: StorageStream
    on_applied: list[Callable[[Group], None]]
    on_leadership: list[Callable[[Group], None]]

    @property
    def groups(self) -> Mapping[int, Group]:
        """The local replicas by group id."""

    @property
    def peers(self) -> Mapping[int, PeerAddress]:
        """Where other brokers are, by broker id."""

    @property
    def replicas(self) -> GroupChanges:
        """What makes and drops the groups."""

    def group(self, group_id: int) -> Group:
        """Return a local replica."""

    def clock_ms(self) -> int:
        """Return the monotonic clock that proposals carry, in milliseconds."""

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback in the loop; from any thread."""

    async def propose(
        self, group_id: int, request: Any, *, timeout_ms: int, may_use_reserve: bool = False
    ) -> Any:
        """Replicate a request and return the state machine's result."""

    async def read_barrier(self, group_id: int, *, timeout_ms: int) -> None:
        """Return when the applied state is at least as new as this call."""

    async def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return stored batches from the one that contains `offset`."""

    async def create_group(
        self, spec: GroupSpec, membership: Membership, *, campaign: bool
    ) -> None:
        """Make a replica of a new group."""

    async def join_group(self, spec: GroupSpec) -> None:
        """Make a replica that joins a group."""

    async def delete_group(self, group_id: int) -> None:
        """Drop a replica."""

    def change_replicas(
        self, group_id: int, target: tuple[Member, ...], version: int
    ) -> ReplicaChange:
        """Lead a group to other replicas, step by step."""

    def find_change(self, group_id: int) -> ReplicaChange | None:
        """Return the change of a group led here, under way or done."""

    async def save_identity(self, identity: BrokerIdentity) -> None:
        """Store who this broker is and which lease epoch it has seen."""

    async def transfer_leadership(self, group_id: int, broker_id: int, *, timeout_ms: int) -> None:
        """Hand leadership over."""


class PeerContact(Protocol):
    """What can be asked of other brokers."""

    async def members(self, broker_id: int, group_id: int) -> MembersAnswer:
        """Return who belongs to a group that another broker leads.

        Raises:
            QueueError: it does not lead, or does not answer.
        """

    async def produce(self, address: str, batch: bytes, query: Mapping[str, str]) -> None:
        """Append a batch at a broker that may lead the partition.

        Raises:
            QueueError: it does not lead, refuses, or does not answer.
        """


class ManagerContact(Protocol):
    """The link to the managers."""

    last_contact: float | None
    """Loop time of the last report that a manager took."""

    def heartbeat(self) -> None:
        """Send a report soon; called in the loop."""

    async def topic_leaders(self, topic: str) -> list[str | None]:
        """Return the address of each partition's leader, None where there is none.

        Raises:
            TopicDoesNotExist: there is no such topic.
            QueueError: no manager answers, or one refuses.
        """

    async def topic_create(self, topic: str, partitions: int, replication_factor: int) -> None:
        """Make a topic; one that is there already is no error.

        Raises:
            QueueError: no manager answers, or one refuses.
        """
