"""The replicas that a broker has, and who wants to know which of them something happened to.

So nobody looks at all of them again and again. A watcher has a map, by group id, and takes out what
it has looked at. What it gets is told by kind: thousands of groups that are awake and do nothing
concern hardly anybody.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.engine.replica import Replica


class Event(Enum):
    """What a watcher is told of; each of them that a replica came or went."""

    MOVED = auto()
    """Nothing else."""
    DRAINED = auto()
    """It had a turn, after an RPC, a request or a tick, or something of it became durable."""
    APPLIED = auto()
    """It applied entries, or a snapshot took the place of its log."""
    STORED = auto()
    """A checkpoint of it became durable."""


class LocalReplicas(dict[int, "Replica"]):
    """The replicas of one engine by group id; lives in its loop.

    Changed by `add` and `drop` alone: whoever finds one that is new here has been told of it.
    """

    def __init__(self, replicas: Iterable[Replica] = ()) -> None:
        """Have some, and tell nobody yet."""
        super().__init__((one.group_id, one) for one in replicas)
        self.watchers: dict[Event, list[dict[int, Replica]]] = {event: [] for event in Event}
        """The maps of those who want to be told; for whoever tells them at each turn."""

    def watch(self, *events: Event) -> dict[int, Replica]:
        """Return a map of all replicas that also gets each that this happens to from now on.

        One that is not here any more, or not the one that is here, is gone.
        """
        seen = dict(self)
        for event in {Event.MOVED, *events}:
            self.watchers[event].append(seen)
        return seen

    def add(self, replica: Replica) -> None:
        """Have one more."""
        self[replica.group_id] = replica
        self.happened(Event.MOVED, replica)

    def drop(self, replica: Replica) -> None:
        """Have one no longer."""
        del self[replica.group_id]
        self.happened(Event.MOVED, replica)

    def happened(self, event: Event, replica: Replica) -> None:
        """Tell of a replica."""
        for seen in self.watchers[event]:
            seen[replica.group_id] = replica
