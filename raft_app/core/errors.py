"""What the core refuses, as exceptions.

    RaftError
    +-- NodeNotLeader      this node does not lead
    +-- NodeNotReady       it leads, but the no-op of its term is not applied yet
    +-- ProposalDropped    it leads, but takes no proposal now
    +-- ChangeRefused      it leads, but does not change the membership so, or not now

Each means that nothing happened: no entry was appended and no read was registered. Anything else
that the core raises is a bug of the core or of its caller.
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Why a leader takes no proposal."""

    LIMIT = "too much is uncommitted"
    TRANSFER = "leadership is being handed over"
    NOT_READY = "the no-op of the term is not applied yet"


class ChangeReason(StrEnum):
    """Why a leader does not change the membership."""

    NOT_READY = "no entry of the leader's own term is committed yet"
    UNCOMMITTED = "an earlier change is not committed yet"
    TRANSFER = "leadership is being handed over"
    OLD_VERSION = "a later placement is in force"
    ALREADY_MEMBER = "the replica is a member"
    NOT_A_MEMBER = "the replica is no member"
    NOT_A_LEARNER = "the replica is no learner"
    ITSELF = "a leader hands over before it is removed"
    BEHIND = "the learner has not caught up"
    NO_QUORUM = "the new voters that follow are no quorum"


class RaftError(Exception):
    """Base of what the core raises on purpose."""


class NodeNotLeader(RaftError):
    """This node does not lead.

    Attributes:
        leader: replica id of the leader as far as it is known, else `NO_REPLICA`.
    """

    def __init__(self, leader: int) -> None:
        super().__init__(f"not the leader; known leader: {leader}")
        self.leader = leader


class NodeNotReady(RaftError):
    """The leader may not answer reads before the no-op of its term is applied."""


class ProposalDropped(RaftError):
    """The leader did not append the proposals; none of them.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: DropReason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class ChangeRefused(RaftError):
    """The leader did not append the change of membership.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: ChangeReason) -> None:
        super().__init__(str(reason))
        self.reason = reason
