"""What the engine wants of storage: a protocol, and the values that pass through it.

Two implementations pass one test suite: `raft_app.storage.sqlite` (SQLite through the Django
connection `broker`) and `tests.doubles.storage` (a twin that can lose what was not synced).
All methods block: the engine calls `write` from its one storage thread and the `read_*` methods
from its reader threads, never from its loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from http_base.histogram import Histogram
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


FORMAT_VERSION = 2
"""Rises with every change of what is stored; a start brings an older directory up to it."""


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """Who this directory belongs to. `broker_id` and `cluster_id` are unset until registered."""

    incarnation: str
    """Random at the first start of the directory, 32 hexadecimal digits."""
    broker_id: int = 0
    cluster_id: str = ""
    format_version: int = FORMAT_VERSION
    epoch: int = 0
    """Highest lease epoch of a manager that this broker has obeyed; never goes back."""


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
    """Removes a replica with everything it stored. Its replica id stays remembered as used.

    The rows of a long log go later, with `ReleaseSpace`; no reader sees them any more.
    """

    group_id: int


class GroupWrite(Struct, frozen=True):
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
class InstallRows:
    """Puts messages of a snapshot into place, at their own indexes, and marks the replica.

    The first of an install drops the log above the checkpoint, so the caller stores a checkpoint
    of its applied index just before; where the log ended is kept, because votes need it. Until
    `FinishInstall` the replica is `installing`: its log ends at the checkpoint and takes no
    entries. Messages in place are committed ones, whoever sent them: after a restart, or with a
    newer snapshot, the install goes on at `install_offset`.
    """

    group_id: int
    rows: tuple[Entry, ...]
    """DATA entries, at least one, whose offsets have no gaps.

    The first begins where the stored messages end, or at `log_start_offset` if that is higher.
    """
    log_start_offset: int
    """The snapshot's; messages below it are gone at once."""


@dataclass(frozen=True, slots=True)
class FinishInstall:
    """Makes a snapshot the whole state of a replica: what was before is replaced.

    The log is empty then and begins above the snapshot. Comes after all rows that it lacked, or
    alone when it lacked none; then too the caller has stored a checkpoint just before.
    """

    group_id: int
    checkpoint: Checkpoint
    log_start_offset: int
    next_offset: int
    """The snapshot's high watermark, up to which every message must be in place."""
    hard_state: HardState | None = None
    """Stored when given; the replica's term is at least the snapshot's."""


@dataclass(frozen=True, slots=True)
class Compact:
    """Moves the beginnings of a group's log and of its messages up, by one bounded step.

    NOOP, COMMAND and MEMBERSHIP rows below `first_index` go; DATA rows below it stay as messages
    until they lie below `log_start_offset`. Messages below that are gone for readers at once,
    their rows go from the front. While `Storage.compact_left`, the same operation goes on; the
    log meanwhile begins where it has got to. Values below the present ones change nothing.
    """

    group_id: int
    first_index: int
    """At most the checkpoint's applied index + 1."""
    previous_term: int
    """Term of the entry before `first_index`."""
    log_start_offset: int
    """Of a state that a stored checkpoint holds; ends a record batch."""
    max_rows: int = 1_000
    """Most rows of one step that are looked at, and most that are deleted."""
    max_bytes: int = 1 << 20
    """Most bytes that are deleted in one step, unless one row has more."""


@dataclass(frozen=True, slots=True)
class ReleaseSpace:
    """Gives disk space of deleted rows back to the file system, by one bounded step.

    While `Storage.release_left`, another one goes on.
    """

    max_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class SetFaulty:
    """Marks a replica that lost or doubts something it once stored; never taken back."""

    group_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptGroup:
    """Gives a replica another id and a log that goes on, also one that is faulty.

    It is sound again: a person has decided that what it has is all that there is.
    """

    spec: GroupSpec
    """With the new replica id."""
    hard_state: HardState
    entries: tuple[Entry, ...]
    """Behind the last one that is stored."""


@dataclass(frozen=True, slots=True)
class SaveIdentity:
    """Stores the broker id and cluster id that the manager gave, and its lease epoch."""

    identity: BrokerIdentity


@dataclass(frozen=True, slots=True)
class SavePeers:
    """Replaces the known addresses of the named brokers."""

    peers: tuple[PeerAddress, ...]


Operation = (
    CreateGroup
    | DeleteGroup
    | GroupWrite
    | SaveCheckpoint
    | InstallRows
    | FinishInstall
    | Compact
    | ReleaseSpace
    | SetFaulty
    | AdoptGroup
    | SaveIdentity
    | SavePeers
)


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One replica as found at the start."""

    spec: GroupSpec
    initial: InitialState
    checkpoint: Checkpoint
    faulty: str = ""
    """Why it is faulty; empty when it is not."""
    log_start_offset: int = 0
    """Messages below it are gone."""
    installing: bool = False
    """A snapshot is partly in place: it must neither campaign nor acknowledge appends."""
    install_offset: int = 0
    """Where an install goes on: the offset after the messages in place. 0 unless installing."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What there is of a replica, whatever made it faulty."""

    stored: StoredGroup
    """With the whole log; `faulty` says why it is of no use, not why it is out of service."""
    end_offset: int
    """After its last message."""


@dataclass(frozen=True, slots=True)
class ScrubMark:
    """Where a step of a scrub ended, and the next one goes on; the first begins with this."""

    index: int = 0
    """The highest that was looked at."""
    term: int = 0
    """Of the entry there. While that is stored, so is all that the step has seen before it."""
    end_offset: int | None = None
    """After the last message up to there; None when not known."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """How far one step of a scrub has got."""

    mark: ScrubMark
    """Where the next step goes on."""
    rows: int
    """How many were verified in this step."""
    complete: bool
    """Whether the group has no more rows."""


class StoredBatch(Struct, frozen=True):
    """One DATA entry as consumers see it."""

    base_offset: int
    record_count: int
    append_timestamp: int
    """Milliseconds since 1970."""
    data: bytes

    @property
    def end(self) -> int:
        """Offset after its last message."""
        return self.base_offset + self.record_count


class Storage(Protocol):
    """Durable state of one broker.

    Attributes:
        commits: seconds that it took to make what adds to logs durable, once written.
    """

    commits: Histogram

    def open(self) -> BrokerIdentity:
        """Lock and check the directory, create or migrate what is stored, return the identity.

        Raises:
            StorageRefusal: another process holds the directory, or its format is newer.
        """

    def load_groups(self) -> list[StoredGroup]:
        """Return every replica; checksums of the entries above the checkpoint are verified.

        A replica with a bad row comes back with `faulty` set.
        """

    def examine(self, group_id: int) -> Examined | None:
        """Return what is stored of a replica, as if it had never been faulty; None without one."""

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

        Empty when `first_index` is not stored or below the log, and while installing.

        Raises:
            CorruptEntry: a checksum does not match.
        """

    def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return the batches from the one that contains `offset`, below `high_watermark`.

        Whole batches up to `max_bytes`, at least one when there is any; none when `offset` is
        below the log start offset. Also of entries below the log.

        Raises:
            CorruptEntry: a checksum does not match.
        """

    def read_rows(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[Entry]:
        """Return what `read_batches` would, as the DATA entries that a snapshot sends.

        Args:
            group_id: whose.
            offset: what the first must contain.
            high_watermark: all begin below it.
            max_bytes: limit on the sum of `Entry.size_bytes`; the first is returned anyway.

        Raises:
            CorruptEntry: a checksum does not match.
        """

    def scrub(self, group_id: int, after: ScrubMark, max_bytes: int) -> Scrubbed:
        """Verify the rows above a mark: checksums, and that none is missing.

        At the beginning also the checkpoint. A group that is not here has no rows.

        Args:
            group_id: whose.
            after: `Scrubbed.mark` of the step before, or `ScrubMark()`.
            max_bytes: limit on what is read, in `Entry.size_bytes`; at least one row is.

        Raises:
            CorruptEntry: the replica is faulty.
        """

    def compact_left(self, group_id: int) -> bool:
        """Tell whether the group's last `Compact` left something; never blocks, any thread."""

    def release_left(self) -> bool:
        """Tell whether the last `ReleaseSpace` left something; never blocks, any thread."""

    def close(self) -> None:
        """Close the database and release the directory."""
