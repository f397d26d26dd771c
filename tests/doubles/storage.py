"""The in-memory twin of the SQLite storage, for tests and simulations.

It tells what was staged from what was synced, loses the one in a crash and keeps the other, and
can have its rows damaged like a disk.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING

from http_base.histogram import Histogram
from raft_app.storage.entry_ranges import batches_within, entries_within, rows_within
from raft_app.storage.protocol import (
    FORMAT_VERSION,
    AdoptGroup,
    BrokerIdentity,
    Compact,
    CreateGroup,
    DeleteGroup,
    Examined,
    FinishInstall,
    GroupWrite,
    InstallRows,
    PeerAddress,
    ReleaseSpace,
    SaveCheckpoint,
    SaveIdentity,
    SavePeers,
    Scrubbed,
    ScrubMark,
    SetFaulty,
    StorageError,
    StorageRefusal,
    StoredBatch,
    StoredGroup,
)
from raft_app.storage.recovery import recover
from raft_app.storage.rules import GroupFacts, PlannedOperation, plan_transaction
from raft_app.storage.scrub import Scrub
from tests.doubles.storage_replica import MemoryReplica

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_app.core.types import Entry
    from raft_app.storage.protocol import Operation


_DOUBTFUL = (InstallRows, FinishInstall, Compact)
"""Operations that are compared with rows, which only carrying them out does."""


class MemoryStorage:
    """`raft_app.storage.protocol.Storage` without a disk: the object is the directory.

    `write` is `stage` and `sync`. It outlives `close` and `crash`: `open` it again.
    """

    def __init__(self, *, incarnation: str = "", format_version: int = FORMAT_VERSION) -> None:
        """Make an empty directory.

        Args:
            incarnation: what the identity will have; random when empty.
            format_version: what the directory claims to be written with.
        """
        self.transactions = 0
        self.commits = Histogram()
        self._identity = BrokerIdentity(
            incarnation=incarnation or secrets.token_hex(16), format_version=format_version
        )
        self._peers: dict[int, PeerAddress] = {}
        self._replicas: dict[int, MemoryReplica] = {}
        self._facts: dict[int, GroupFacts] = {}
        self._used_replica_ids: dict[int, frozenset[int]] = {}
        self._staged: list[PlannedOperation] = []
        self._staged_facts: dict[int, GroupFacts] = {}
        self._staged_identity = self._identity
        self._opened = False
        self._failed = False
        self._compacts_left: dict[int, bool] = {}
        self._lock = RLock()

    def open(self) -> BrokerIdentity:
        """Take the directory and return its identity.

        Raises:
            StorageRefusal: it is open already, or its format version is another.
        """
        with self._lock:
            if self._opened:
                raise StorageRefusal("the directory is in use")
            if self._identity.format_version != FORMAT_VERSION:
                raise StorageRefusal(
                    f"the directory has format version {self._identity.format_version}; this"
                    f" program knows {FORMAT_VERSION}"
                )
            self._opened = True
            self._failed = False
            self._compacts_left = {}
            return self._identity

    def close(self) -> None:
        """Let the directory go; what was staged and not synced is lost."""
        self.crash()

    def crash(self) -> None:
        """Lose what was staged and not synced, as when the power goes."""
        with self._lock:
            self._opened = False
            self._staged = []
            self._staged_facts = {}
            self._staged_identity = self._identity

    def close_thread_connection(self) -> None:
        """Do nothing: there is no connection. For callers that close theirs."""

    # --- writing ----------------------------------------------------------------------------

    def write(self, operations: Sequence[Operation]) -> None:
        """Store all operations in order, or none; durable when it returns.

        Raises:
            StorageError: an operation contradicts what is stored.
        """
        with self._lock:
            self.stage(operations)
            self.sync()

    def stage(self, operations: Sequence[Operation]) -> None:
        """Take all operations, or none; a crash before `sync` loses them, readers see nothing yet.

        Raises:
            StorageError: an operation contradicts what is stored or staged.
        """
        with self._lock:
            self._require_open()
            if self._failed:
                raise StorageError("an earlier write failed")
            plan = plan_transaction(operations, self._facts_of, self._staged_identity)
            self._staged += plan.steps
            self._staged_facts.update(plan.facts)
            self._staged_identity = plan.identity or self._staged_identity

    def sync(self) -> None:
        """Make everything staged durable.

        Raises:
            StorageError: an operation contradicts the stored rows. Nothing of what was staged is
                stored then, nor will anything be until the directory is opened again.
        """
        with self._lock:
            self._require_open()
            with self._all_or_nothing():
                for step in self._staged:
                    self._carry_out(step)
            self._facts.update(self._staged_facts)
            self.transactions += bool(self._staged)
            self._staged = []
            self._staged_facts = {}

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Keep what is stored as it was when a step fails; only those of `_DOUBTFUL` can."""
        if not any(isinstance(step.operation, _DOUBTFUL) for step in self._staged):
            yield
            return
        before = (
            {group_id: replica.copy() for group_id, replica in self._replicas.items()},
            dict(self._used_replica_ids),
            dict(self._peers),
            self._identity,
        )
        try:
            yield
        except StorageError:
            self._replicas, self._used_replica_ids, self._peers, self._identity = before
            self._failed = True
            raise

    def _facts_of(self, group_id: int) -> GroupFacts:
        return self._staged_facts.get(group_id) or self._facts.get(group_id) or GroupFacts()

    def _carry_out(self, step: PlannedOperation) -> None:
        match step.operation:
            case GroupWrite() as write:
                self._replicas[write.group_id].write(write)
            case InstallRows() as install:
                self._replicas[install.group_id].install_rows(install, step)
            case FinishInstall() as finish:
                self._replicas[finish.group_id].finish_install(finish, step)
            case Compact(group_id=group_id) as compact:
                left = self._replicas[group_id].compact(compact)
                self._compacts_left[group_id] = left
            case _:
                self._carry_out_rare(step)

    def _carry_out_rare(self, step: PlannedOperation) -> None:
        match step.operation:
            case CreateGroup() as create:
                group_id = create.spec.group_id
                self._replicas[group_id] = MemoryReplica(
                    spec=create.spec,
                    hard_state=create.hard_state,
                    checkpoint=create.checkpoint,
                    first_index=create.checkpoint.applied_index + 1,
                    previous_term=create.checkpoint.applied_term,
                )
                self._replicas[group_id].write(GroupWrite(group_id, None, create.entries))
                used = self._used_replica_ids.get(group_id, frozenset())
                self._used_replica_ids[group_id] = used | {create.spec.replica_id}
            case AdoptGroup(spec=spec) as adopt:
                replica = self._replicas[spec.group_id]
                replica.spec, replica.faulty = spec, ""
                replica.write(GroupWrite(spec.group_id, adopt.hard_state, adopt.entries))
                used = self._used_replica_ids.get(spec.group_id, frozenset())
                self._used_replica_ids[spec.group_id] = used | {spec.replica_id}
            case DeleteGroup(group_id=group_id):
                del self._replicas[group_id]
            case SaveCheckpoint(group_id=group_id, checkpoint=checkpoint):
                self._replicas[group_id].checkpoint = checkpoint
            case SetFaulty(group_id=group_id, reason=reason):
                replica = self._replicas[group_id]
                replica.faulty = replica.faulty or reason
            case SaveIdentity(identity=identity):
                self._identity = identity
            case SavePeers(peers=peers):
                self._peers.update((peer.broker_id, peer) for peer in peers)
            case ReleaseSpace():
                pass  # A list is as long as what is in it.

    def compact_left(self, group_id: int) -> bool:
        """Tell whether the group's last `Compact` left something."""
        return self._compacts_left.get(group_id, False)

    def release_left(self) -> bool:
        """Return False: what is deleted takes no space."""
        return False

    # --- reading ----------------------------------------------------------------------------

    def load_groups(self) -> list[StoredGroup]:
        """Return every replica, faulty ones marked; see `raft_app.storage.recovery`."""
        with self._lock:
            self._require_open()
            return [
                recover(replica.header(), replica) for _, replica in sorted(self._replicas.items())
            ]

    def examine(self, group_id: int) -> Examined | None:
        """Return what is stored of a replica, as if it had never been faulty; None without one."""
        with self._lock:
            self._require_open()
            replica = self._replicas.get(group_id)
            if replica is None:
                return None
            stored = recover(replace(replica.header(), faulty=""), replica)
            return Examined(stored, max(replica.end_offset(), replica.log_start_offset))

    def load_peers(self) -> list[PeerAddress]:
        """Return the known addresses of other brokers, by broker id."""
        with self._lock:
            self._require_open()
            return [peer for _, peer in sorted(self._peers.items())]

    def used_replica_ids(self, group_id: int) -> frozenset[int]:
        """Return the ids that replicas of this group ever had in this directory."""
        with self._lock:
            self._require_open()
            return self._used_replica_ids.get(group_id, frozenset())

    def read_entries(
        self, group_id: int, first_index: int, last_index: int, max_bytes: int
    ) -> list[Entry]:
        """Return a prefix of the inclusive range: whole entries up to `max_bytes`, at least one.

        Raises:
            CorruptEntry: a row is damaged, or one is missing in between.
        """
        with self._lock:
            self._require_open()
            replica = self._replicas.get(group_id)
            if replica is None:
                return []
            found = replica.log_entries(first_index, last_index)
            return entries_within(group_id, first_index, max_bytes, found)

    def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return the batches from the one that contains `offset`, below `high_watermark`.

        Raises:
            CorruptEntry: a row is damaged, or one is missing in between.
        """
        with self._lock:
            self._require_open()
            replica = self._replicas.get(group_id)
            if replica is None:
                return []
            found = replica.data_entries(offset, high_watermark)
            return batches_within(group_id, offset, max_bytes, found)

    def read_rows(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[Entry]:
        """Return what `read_batches` would, as the DATA entries that a snapshot sends.

        Raises:
            CorruptEntry: a row is damaged, or one is missing in between.
        """
        with self._lock:
            self._require_open()
            replica = self._replicas.get(group_id)
            if replica is None:
                return []
            found = replica.data_entries(offset, high_watermark)
            return rows_within(group_id, offset, max_bytes, found)

    def scrub(self, group_id: int, after: ScrubMark, max_bytes: int) -> Scrubbed:
        """Verify the rows above a mark; at the beginning, the checkpoint too.

        Raises:
            CorruptEntry: a row is damaged, or one is missing.
        """
        with self._lock:
            self._require_open()
            replica = self._replicas.get(group_id)
            if replica is None:
                return Scrubbed(after, rows=0, complete=True)
            if after.index == 0:
                replica.scrub_checkpoint()
            return Scrub(group_id, after, max_bytes).run(replica.bounded_entries(after.index))

    # --- the bad disk -----------------------------------------------------------------------

    def damage_entry(self, group_id: int, index: int) -> None:
        """Make a stored entry contradict its checksum."""
        with self._lock:
            self._replicas[group_id].damaged.add(index)

    def lose_entry(self, group_id: int, index: int) -> None:
        """Make a stored entry disappear."""
        with self._lock:
            self._replicas[group_id].lost.add(index)

    def damage_checkpoint(self, group_id: int) -> None:
        """Make a group's checkpoint contradict its checksum."""
        with self._lock:
            self._replicas[group_id].checkpoint = None

    def damage_hard_state(self, group_id: int, **values: int) -> None:
        """Put other values into a group's stored hard state."""
        with self._lock:
            replica = self._replicas[group_id]
            replica.hard_state = replace(replica.hard_state, **values)

    def _require_open(self) -> None:
        if not self._opened:
            raise StorageError("the directory is closed")
