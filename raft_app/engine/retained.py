"""What a replica must not delete yet, and how far deleting has got."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pin:
    """What a snapshot on its way needs: the messages that it contains, and the log behind it."""

    first_index: int
    """The log is kept from here on."""
    log_start_offset: int
    """Messages are kept from here on."""
    until: float
    """Loop time at which the pin holds no longer, in seconds."""


@dataclass(slots=True)
class Retained:
    """The pins of one replica and the beginnings that storage was told."""

    pins: dict[int, Pin] = field(default_factory=dict)
    """By the replica id of the peer that gets a snapshot."""
    told_log_start: int = -1
    """Log start offset of the last compaction; -1 before the first, which finishes old ones."""
    cut_log_start: int = 0
    """No row of a message below it is left."""
