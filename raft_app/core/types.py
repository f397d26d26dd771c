"""The values that go in and out of the core: entries, memberships, RPCs, and what `Ready` carries.

Everything here is immutable (`values` says how), depends on the standard library alone and has no
behaviour beyond refusing to exist when it is wrong.

The RPCs between nodes of one group are named after the paper and form a closed union, dispatched
with `match`. `to` and `sender` are replica ids. An RPC names the term of its sender, except a
PreVote, which names the term that the sender would campaign in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from raft_app.core.values import value

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_REPLICA = 0
"""The replica id that no replica has: "nobody" as a vote or as a leader."""
ENTRY_OVERHEAD_BYTES = 64
"""What an entry counts against limits beside its data."""


class EntryKind(IntEnum):
    """What an entry of the log carries. The numbers are stored and sent: never reuse one."""

    NOOP = 0
    """Nothing: the first entry of a leader's term (thesis, section 6.4)."""
    DATA = 1
    """One record batch, exactly as the client encoded it."""
    COMMAND = 2
    """A command for the state machine other than a record batch."""
    MEMBERSHIP = 3
    """An encoded `Membership`."""


class Role(StrEnum):
    """The role of a node (paper, figure 4; thesis, sections 4.2.1 and 9.6)."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"


@value
class Entry:
    """One record of the log."""

    index: int
    """1-based position in the log; without gaps."""
    term: int
    kind: EntryKind
    data: bytes = b""
    base_offset: int = 0
    """Offset of the first message of a DATA entry; 0 for the other kinds."""
    record_count: int = 0
    """Messages in a DATA entry, at least 1; 0 for the other kinds."""
    append_timestamp: int = 0
    """The leader's wall clock at the append, milliseconds since 1970; never goes back in a log."""

    @property
    def size_bytes(self) -> int:
        """What the entry counts against limits: its data and a fixed overhead."""
        return len(self.data) + ENTRY_OVERHEAD_BYTES


def bytes_of(entries: Iterable[Entry]) -> int:
    """Return what entries count against limits together: the sum of their `size_bytes`."""
    total = 0
    for entry in entries:
        total += len(entry.data) + ENTRY_OVERHEAD_BYTES
    return total


@value
class Proposal:
    """What a leader is asked to append: an entry without its index and term."""

    kind: EntryKind
    data: bytes = b""
    base_offset: int = 0
    record_count: int = 0
    append_timestamp: int = 0

    @property
    def size_bytes(self) -> int:
        """What its entry counts against limits."""
        return len(self.data) + ENTRY_OVERHEAD_BYTES


@value
class HardState:
    """What must be durable before anything that depends on it leaves (paper, figure 2)."""

    term: int = 0
    vote: int = NO_REPLICA
    commit: int = 0
    """A hint only: what a restart may apply at once."""


@dataclass(frozen=True, slots=True)
class SoftState:
    """What is worth telling and need not be stored."""

    role: Role
    leader: int
    """Replica id of the leader of the current term, or `NO_REPLICA`."""
    term: int


@dataclass(frozen=True, slots=True, order=True)
class RaftMember:
    """One replica of a group and where it lies."""

    replica_id: int
    broker_id: int

    def __post_init__(self) -> None:
        if self.replica_id <= 0 or self.broker_id <= 0:
            raise ValueError(f"replica and broker ids are positive: {self!r}")


@dataclass(frozen=True, slots=True)
class Membership:
    """Who belongs to a group: voters count for quorums, learners only receive."""

    voters: tuple[RaftMember, ...] = ()
    learners: tuple[RaftMember, ...] = ()
    version: int = 0
    """Placement version of the change that made it; a leader refuses lower ones. The steps that
    lead to one placement share its version."""

    def __post_init__(self) -> None:
        ids = [member.replica_id for member in self.voters + self.learners]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a replica is named twice: {self!r}")

    @property
    def members(self) -> tuple[RaftMember, ...]:
        """Voters, then learners."""
        return self.voters + self.learners

    @property
    def voter_ids(self) -> frozenset[int]:
        """Replica ids of the voters."""
        return frozenset(member.replica_id for member in self.voters)

    def encode(self) -> bytes:
        """Return the bytes that a MEMBERSHIP entry carries."""
        members = [
            [[member.replica_id, member.broker_id] for member in group]
            for group in (self.voters, self.learners)
        ]
        return json.dumps([1, self.version, *members], separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Membership:
        """Read what `encode` wrote.

        Raises:
            ValueError: the bytes are no membership or of an unknown format version.
        """
        fields = json.loads(data)
        if not isinstance(fields, list) or len(fields) != 4 or fields[0] != 1:
            raise ValueError(f"not a membership: {data[:80]!r}")
        voters, learners = (
            tuple(RaftMember(replica_id, broker_id) for replica_id, broker_id in group)
            for group in fields[2:]
        )
        return cls(voters=voters, learners=learners, version=fields[1])


@dataclass(frozen=True, slots=True)
class AddLearner:
    """Let a new replica receive the log; its replica id was never used before."""

    member: RaftMember


@dataclass(frozen=True, slots=True)
class Promote:
    """Make a learner that has caught up a voter."""

    replica_id: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a voter or a learner out of the group, for good."""

    replica_id: int


MembershipChange = AddLearner | Promote | Remove
"""One step from one membership to the next; two neighbours' quorums always overlap."""


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """What a snapshot covers: the log up to and including `last_index`."""

    last_index: int
    last_term: int
    """Term of the entry at `last_index`."""
    membership: Membership
    """The membership in force at `last_index`."""
    membership_index: int
    """Index of the entry that set it; 0 when there was none."""

    def __post_init__(self) -> None:
        if not 0 <= self.membership_index <= self.last_index or self.last_index == 0:
            raise ValueError(f"not the indexes of a snapshot: {self!r}")


@value
class Write:
    """One numbered write of one node: stored whole, in order, or not at all."""

    write_id: int
    """Rises by one for each write of a node since its start."""
    hard_state: HardState | None
    """Stored when given, together with the entries."""
    entries: tuple[Entry, ...] = ()
    """Contiguous; everything stored at or above the first one's index is replaced."""


@value
class ReadConfirmed:
    """A ReadIndex read may be answered once `index` is applied (thesis, section 6.4)."""

    context: int
    index: int


@dataclass(frozen=True, slots=True)
class EntriesWanted:
    """Older entries that the core no longer holds and needs to send to a peer.

    Answered with `RawNode.entries_read(wanted, entries)`: a non-empty prefix of the range, or empty
    when they could not be read (the core then asks again later).
    """

    peer: int
    first_index: int
    last_index: int
    """Inclusive."""
    max_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotWanted:
    """A peer needs entries that the stored log does not have any more: offer it a snapshot.

    Told once, until `RawNode.report_snapshot(peer, ok)` is called or the peer has caught up in
    another way; when a transfer to that peer runs already, it needs no second one. The snapshot is
    that of the state machine as it is now or later, never an older one.
    """

    peer: int


@value
class Ready:
    """All that a node wants done; the only way out of the core.

    The caller must, in this order: hand `write` to storage; send `send_now`; send
    `send_after_durable` as soon as every write up to `after_write_id` is durable (at once when
    that is so already); apply `committed` and call `applied`; answer `reads_confirmed` when
    applied, refuse `reads_failed`; answer `entries_wanted` and `snapshots_wanted`. Writes finish in
    order, each reported with `RawNode.persisted(write_id)`.
    """

    write: Write | None = None
    send_now: tuple[Rpc, ...] = ()
    send_after_durable: tuple[Rpc, ...] = ()
    after_write_id: int = 0
    """Number of the last write issued so far, this one's included."""
    committed: tuple[Entry, ...] = ()
    """Next entries to apply, in order, each given once."""
    reads_confirmed: tuple[ReadConfirmed, ...] = ()
    reads_failed: tuple[int, ...] = ()
    """Contexts of reads that were pending when leadership was lost."""
    entries_wanted: tuple[EntriesWanted, ...] = ()
    snapshots_wanted: tuple[SnapshotWanted, ...] = ()
    soft_state: SoftState | None = None
    """Set when it changed since the last `Ready`."""


@dataclass(frozen=True, slots=True)
class InitialState:
    """What a node starts from: the checkpoint, the hard state and the log above `first_index`."""

    replica_id: int
    hard_state: HardState
    membership: Membership
    """That of the checkpoint or the bootstrap; entries above it may replace it."""
    membership_index: int
    """Index of the entry that set it; 0 when there was none."""
    applied_index: int = 0
    first_index: int = 1
    """Lowest index that the stored log still has."""
    previous_term: int = 0
    """Term of the entry before `first_index`."""
    term_starts: tuple[tuple[int, int], ...] = ()
    """(first index, term) of each term in the stored log, ascending."""
    last_index: int = 0
    """Highest stored index; `first_index - 1` when the log is empty."""
    entries: tuple[Entry, ...] = ()
    """The entries above `applied_index`, all of them; contiguous up to `last_index`."""
    installing: bool = False
    """The installation of a snapshot was interrupted. What is stored above `applied_index` is
    doubtful then: `last_index` is `applied_index`, and there are no `entries`."""
    acknowledged_end: tuple[int, int] | None = None
    """(last index, last term) of the log before that installation began; None when it is not
    known. Only a node that knows it may vote, and takes a snapshot of an earlier term."""

    def __post_init__(self) -> None:
        if self.installing and self.last_index != self.applied_index:
            raise ValueError("a log above the checkpoint is doubtful while a snapshot is installed")


@dataclass(frozen=True, slots=True)
class PreVote:
    """Would you vote for me in `term`? Promises nothing (thesis, section 9.6)."""

    to: int
    sender: int
    term: int
    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVoteReply:
    """`term` is the asked term when granted, else the replier's current term."""

    to: int
    sender: int
    term: int
    granted: bool


@dataclass(frozen=True, slots=True)
class RequestVote:
    """Paper, figure 2. `transfer` marks an election that the leader asked for (TimeoutNow)."""

    to: int
    sender: int
    term: int
    last_index: int
    last_term: int
    transfer: bool = False


@dataclass(frozen=True, slots=True)
class RequestVoteReply:
    """Paper, figure 2."""

    to: int
    sender: int
    term: int
    granted: bool


@value
class AppendEntries:
    """Paper, figure 2. `commit` is the leader's commit index."""

    to: int
    sender: int
    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int


@value
class AppendEntriesReply:
    """Success: the sender's log agrees up to and including `index` and that is durable.

    Refusal: the entry at `index` (the asked `prev_index`) does not match; `conflict_index` and
    `conflict_term` say where to try next (paper, end of section 5.3). `last_index` is the end of
    the replier's log. A refusal that `wants_snapshot` says nothing about any entry: the replier is
    in the middle of installing a snapshot and has no log until it gets one.
    """

    to: int
    sender: int
    term: int
    success: bool
    index: int
    conflict_index: int = 0
    conflict_term: int = 0
    last_index: int = 0
    wants_snapshot: bool = False


@value
class Heartbeat:
    """I lead; `commit` is min(match of the receiver, commit index).

    `context` is the number of the latest read round (thesis, section 6.4).
    """

    to: int
    sender: int
    term: int
    commit: int
    context: int = 0


@value
class HeartbeatReply:
    """Echoes `context`; counts for check-quorum and ReadIndex."""

    to: int
    sender: int
    term: int
    context: int = 0


@dataclass(frozen=True, slots=True)
class Quiesce:
    """Everything is replicated and nothing is under way: sleep until something happens.

    `commit` is the commit index and the end of the leader's log. `lagging` names the members that
    hold less of it and are not heard; they are not told.
    """

    to: int
    sender: int
    term: int
    commit: int
    lagging: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Wake:
    """To a leader: I am awake, or cannot sleep, so lead on. From one: I lead no more."""

    to: int
    sender: int
    term: int


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """Campaign at once: leadership is handed to you (thesis, section 3.10)."""

    to: int
    sender: int
    term: int


Rpc = (
    PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendEntriesReply
    | Heartbeat
    | HeartbeatReply
    | Quiesce
    | Wake
    | TimeoutNow
)
