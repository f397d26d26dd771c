"""Limits of the engine of one broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from raft_app.core.config import RaftConfig

PEER_INFLIGHT_BYTES = 32 << 20
"""Default of `EngineConfig.peer_inflight_bytes`: two groups alone fill it."""
RESTS_UNTIL_MISSED = 4
"""So often a broker at rest is ticked at least, before its watchdog gives up."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of an engine. Times in milliseconds, sizes in bytes."""

    raft: RaftConfig = field(default_factory=RaftConfig)
    tick_ms: int = 50
    """One Raft tick. Shorter fails over sooner and costs more."""
    vouch_wait_ms: int = 0
    """How long what was stored waits at the start, without a vote, for somebody who remembers what
    it had acknowledged. 0: not at all."""
    ticks_missed_max: int = 20
    """Intervals without a tick after which the broker gives up: its clock stands still."""
    tail_bytes_per_group: int = 16 << 20
    tail_bytes: int = 256 << 20
    peer_inflight_bytes: int = PEER_INFLIGHT_BYTES
    """Entries of all groups on their way to one peer that it has not acknowledged. More keeps a
    long or fast link busier; less fills a slow peer's memory, and the queue before it, less."""
    job_bytes_max: int = 2 << 20
    """Most bytes of one storage transaction, unless one entry has more. Everybody else waits until
    it is stored, and the WAL with it is written back: 16 MiB, as of a replica that catches up, take
    100 to 200 ms; more than 2 MiB makes nothing quicker."""
    checkpoint_entries: int = 10_000
    """Applied entries after which a replica's state is stored."""
    checkpoint_min_bytes: int = 16 << 20
    """Applied bytes after which it is stored, when that is above four times its size."""
    checkpoints_per_request: int = 16
    """Most replicas that are stored at one request: checkpoints are staggered."""
    checkpoint_bytes_per_request: int = 1 << 20
    """Encoded states after which one request stores no further replica: encoding holds the loop,
    and with it the heartbeats of all replicas, for about 15 ms per MiB."""
    disk_reserve_bytes: int = 256 << 20
    """Free space under which proposals are refused."""
    reader_threads: int = 2
    log_tail_entries: int = 1_000
    """Entries that a log keeps below its checkpoint, for followers that lag a little."""
    log_keep_bytes: int = 64 << 20
    """Entries that a leader keeps for followers that lag more; one further back gets a snapshot."""
    snapshot_bytes_per_second: int = 64 << 20
    """Of all snapshots that this broker sends, and of all older entries that it sends to learners.
    Less leaves more to produce and consume.

    Snapshots exceed it where one row would take longer than half of `snapshot_timeout_ms`.
    """
    snapshot_part_bytes: int = 1 << 20
    """Rows or state of one part, unless one row has more."""
    snapshots_sending_max: int = 2
    """Snapshots sent at once; the others wait."""
    snapshots_receiving_max: int = 2
    """Snapshots taken in at once; the others are offered again."""
    snapshot_timeout_ms: int = 20_000
    """Longest wait for the other side of a snapshot connection."""
    snapshot_pin_ms: int = 600_000
    """How long a snapshot on its way keeps what it needs from being deleted."""
    scrub_bytes_per_second: int = 4 << 20
    """How fast stored rows are verified in the background."""
    scrub_part_bytes: int = 256 << 10
    """Rows that are verified in one go."""

    @property
    def ticks_at_rest(self) -> int:
        """Ticks that come at once while no replica is awake.

        As many as lie between two signs of life, which alone need the time then; far fewer than the
        watchdog misses.
        """
        return max(1, min(self.raft.heartbeat_ticks, self.ticks_missed_max // RESTS_UNTIL_MISSED))
