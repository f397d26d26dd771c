"""The RPCs between nodes of one group, named after the paper: a closed union.

`to` and `sender` are replica ids. An RPC names the term of its sender, except a PreVote, which
names the term that the sender would campaign in.
"""

from __future__ import annotations

from dataclasses import dataclass

from raft_app.core.types import Entry


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


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """Paper, figure 2. `commit` is the leader's commit index."""

    to: int
    sender: int
    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """I lead; `commit` is min(match of the receiver, commit index).

    `context` is the number of the latest read round (thesis, section 6.4).
    """

    to: int
    sender: int
    term: int
    commit: int
    context: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """Echoes `context`; counts for check-quorum and ReadIndex."""

    to: int
    sender: int
    term: int
    context: int = 0


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
    | TimeoutNow
)
