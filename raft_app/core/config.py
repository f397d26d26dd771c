"""Settings of one Raft node; time in ticks, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

_MAY_BE_ZERO = frozenset({"quiesce_after_ticks", "spares_wait_bytes"})


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Limits and timeouts of a node. Refuses to exist when they contradict each other."""

    election_timeout_ticks: int = 20
    """T: silence of the leader after which a node campaigns, randomised in [T, 2T). Longer rides
    out slow networks; shorter replaces a silent leader sooner."""
    heartbeat_ticks: int = 2
    """Ticks between a leader's heartbeats. T is at least ten of them."""
    quiesce_after_ticks: int = 0
    """Idle ticks after which a group sleeps, at least T; 0: never. Sooner saves more where traffic
    comes in bursts; later wakes less often."""
    max_append_bytes: int = 1 << 20
    """Entries of one AppendEntries; a single larger entry still travels, alone."""
    max_inflight_appends: int = 64
    """AppendEntries to one follower that are not acknowledged yet."""
    max_inflight_bytes: int = 16 << 20
    """Bytes of those."""
    max_uncommitted_bytes: int = 64 << 20
    """Proposals beyond it are refused."""
    max_uncommitted_entries: int = 1_000
    """Proposals beyond it are refused."""
    max_recent_bytes: int = 2 << 20
    """Applied and durable entries kept in memory for followers that lag a little."""
    spares_wait_bytes: int = 0
    """While no more than that is uncommitted, a leader sends to the quickest quorum at once and to
    its spare followers when its driver calls `RawNode.send_to_spares`; 0: to all at once."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0 and name not in _MAY_BE_ZERO:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.election_timeout_ticks < 10 * self.heartbeat_ticks:
            raise ValueError(
                f"election_timeout_ticks ({self.election_timeout_ticks}) must be at least ten"
                f" times heartbeat_ticks ({self.heartbeat_ticks})"
            )
        if self.quiesce_after_ticks and self.quiesce_after_ticks < self.election_timeout_ticks:
            raise ValueError(
                f"quiesce_after_ticks ({self.quiesce_after_ticks}) must be 0 or at least"
                f" election_timeout_ticks ({self.election_timeout_ticks})"
            )
