"""What travels on a snapshot connection, and what both ends want of it.

    sender (the leader)                     receiver
      offer                              ->
                                     <-    answer: refused, or from which offset
      rows, in the order of offsets      ->
      state, in pieces                   ->
      end                                ->
                                     <-    installed: durable and in force

The receiver stores each piece before it takes the next one, so a slow disk slows the sender. Two
implementations pass one test suite: `tcp.snapshots`, and the double of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from raft_app.core.types import Entry, SnapshotMeta

PARTS_WAITING_MAX = 4
"""Parts that an end has got and nobody has taken yet; then the other end has to wait."""


class SnapshotLost(Exception):
    """The connection broke, or carried something that does not belong there."""


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """The state of a group as a leader applied it, and where its messages begin and end."""

    group_id: int
    to: int
    """Replica id of the receiver."""
    sender: int
    """Replica id of the leader."""
    term: int
    meta: SnapshotMeta
    log_start_offset: int
    next_offset: int
    """Offset after the last message that the state contains."""
    state_bytes: int
    """Length of the encoded state."""


@dataclass(frozen=True, slots=True)
class SnapshotAnswer:
    """Whether the receiver takes it."""

    accepted: bool
    from_offset: int = 0
    """The first message that it lacks: rows from there on, please."""
    has_it: bool = False
    """Refused because the receiver needs none; it reports its position by itself."""


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """DATA entries in the order of their offsets, about 1 MiB of them."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """The next piece of the encoded state."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """That was all of it."""


@dataclass(frozen=True, slots=True)
class SnapshotInstalled:
    """The receiver has stored it and goes on from there."""


SnapshotPart = (
    SnapshotOffer | SnapshotAnswer | SnapshotRows | SnapshotState | SnapshotEnd | SnapshotInstalled
)


class SnapshotStream(Protocol):
    """One end of one snapshot connection."""

    broker_id: int
    """Who is at the other end, proven by the handshake."""

    async def send(self, part: SnapshotPart) -> None:
        """Send a part; waits while the other end is behind.

        Raises:
            SnapshotLost: the connection is gone.
        """

    async def receive(self) -> SnapshotPart:
        """Return the next part, in the order sent.

        Raises:
            SnapshotLost: the connection is gone; parts that came before are returned first.
        """

    def close(self) -> None:
        """End the connection; what was sent before still arrives. Again is no error."""
