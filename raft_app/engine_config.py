"""Limits of the engine of one broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from raft_app.core.config import RaftConfig


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of an engine. Times in milliseconds, sizes in bytes."""

    raft: RaftConfig = field(default_factory=RaftConfig)
    tick_ms: int = 50
    """One Raft tick. Shorter fails over sooner and costs more."""
    ticks_missed_max: int = 20
    """Intervals without a tick after which the broker gives up: its clock stands still."""
    tail_bytes_per_group: int = 16 << 20
    tail_bytes: int = 256 << 20
    job_bytes_max: int = 16 << 20
    """Most bytes of one storage transaction."""
    checkpoint_entries: int = 10_000
    """Applied entries after which a group's state is stored."""
    checkpoint_min_bytes: int = 16 << 20
    """Applied bytes after which it is stored, when that is above four times its size."""
    checkpoints_per_request: int = 16
    """Most groups that are stored at one request: checkpoints are staggered."""
    disk_reserve_bytes: int = 256 << 20
    """Free space under which proposals are refused."""
    reader_threads: int = 2
