"""What the engine wants of storage: a protocol, and the values that pass through it.

Two implementations pass one test suite: `raft_app.storage_sqlite` (SQLite through the Django
connection `broker`) and `raft_app.storage_memory` (a twin that can lose what was not synced).
All methods block: the engine calls `write` from its one storage thread and the `read_*` methods
from its reader threads, never from its loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.types import Entry, HardState, InitialState, Membership


class StorageError(Exception):
    """Base of what storage raises on purpose."""


class StorageRefusal(StorageError):
    """The directory must not be used as it is; one clear line says why. Exit status 2."""


class CorruptEntry(StorageError):
    """A stored row does not match its checksum; the replica that owns it is faulty.

    Attributes:
        group_id: the group whose replica it is.
    """

    def __init__(self, group_id: int, message: str) -> None:
        super().__init__(message)
        self.group_id = group_id


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """Who this directory belongs to. `broker_id` and `cluster_id` are unset until registered."""

    incarnation: str
    """Random at the first start of the directory, 32 hexadecimal digits."""
    broker_id: int = 0
    cluster_id: str = ""
    format_version: int = 1


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where another broker was last known to listen; kept so that a restart needs no manager."""

    broker_id: int
    http_address: str
    """`http://host:port`."""
    raft_address: str
    """`host:port`."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The fixed facts of one local replica."""

    group_id: int
    replica_id: int
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state machine and the membership after applying `applied_index`."""

    applied_index: int
    applied_term: int
    membership: Membership
    membership_index: int
    state: bytes
    """The state machine's own encoding; empty for the initial state."""


# --- operations of one transaction ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """Makes a local replica with its first entries, hard state and (initial) checkpoint."""

    spec: GroupSpec
    hard_state: HardState
    entries: tuple[Entry, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    """Removes a replica with everything it stored. Its replica id stays remembered as used."""

    group_id: int


@dataclass(frozen=True, slots=True)
class GroupWrite:
    """Entries, a hard state, or both, of one group.

    Everything stored at or above the first entry's index is replaced.
    """

    group_id: int
    hard_state: HardState | None
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Replaces the group's checkpoint. Comes after the entries it covers, in the same stream."""

    group_id: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class SetFaulty:
    """Marks a replica that lost or doubts something it once stored; never taken back."""

    group_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class SaveIdentity:
    """Stores the broker id and cluster id that the manager gave."""

    identity: BrokerIdentity


@dataclass(frozen=True, slots=True)
class SavePeers:
    """Replaces the known addresses of the named brokers."""

    peers: tuple[PeerAddress, ...]


Operation = (
    CreateGroup | DeleteGroup | GroupWrite | SaveCheckpoint | SetFaulty | SaveIdentity | SavePeers
)


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One replica as found at the start."""

    spec: GroupSpec
    initial: InitialState
    checkpoint: Checkpoint
    faulty: str = ""
    """Why it is faulty; empty when it is not."""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One DATA entry as consumers see it."""

    base_offset: int
    record_count: int
    append_timestamp: int
    """Milliseconds since 1970."""
    data: bytes


class Storage(Protocol):
    """Durable state of one broker."""

    def open(self) -> BrokerIdentity:
        """Lock and check the directory, create or migrate what is stored, return the identity.

        Raises:
            StorageRefusal: another process holds the directory, or its format is newer.
        """

    def load_groups(self) -> list[StoredGroup]:
        """Return every replica; checksums of the entries above the checkpoint are verified.

        A replica with a bad row comes back with `faulty` set.
        """

    def load_peers(self) -> list[PeerAddress]:
        """Return the known addresses of other brokers."""

    def used_replica_ids(self, group_id: int) -> frozenset[int]:
        """Return the ids that replicas of this group ever had in this directory."""

    def write(self, operations: Sequence[Operation]) -> None:
        """Store all operations, in order, in ONE transaction; durable when it returns.

        Raises:
            StorageError | OSError | django.db.Error: nothing is known about what is stored; the
                caller must stop the broker.
        """

    def read_entries(
        self, group_id: int, first_index: int, last_index: int, max_bytes: int
    ) -> list[Entry]:
        """Return a prefix of the inclusive range: whole entries up to `max_bytes`, at least one.

        Empty when `first_index` is not stored.

        Raises:
            CorruptEntry: a checksum does not match.
        """

    def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return the batches from the one that contains `offset`, below `high_watermark`.

        Whole batches up to `max_bytes`, at least one when there is any.

        Raises:
            CorruptEntry: a checksum does not match.
        """

    def close(self) -> None:
        """Close the database and release the directory."""
