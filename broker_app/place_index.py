"""Which replica of a broker is that of a partition; what came or went is taken in when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.engine.local_replicas import Event

if TYPE_CHECKING:
    from raft_app.engine.local_replicas import LocalReplicas
    from raft_app.engine.replica import Replica


class PlaceIndex:
    """The replicas of an engine by topic and partition; right after a `refresh`."""

    def __init__(self, replicas: LocalReplicas) -> None:
        """Index nothing yet.

        Args:
            replicas: of an engine.
        """
        self.replicas: dict[tuple[str, int], Replica] = {}
        self._here = replicas
        self._moved = replicas.watch(Event.MOVED)
        """Those that came or went since this was right."""
        self._places: list[tuple[str, int]] = []
        """In order; empty when they are to be put in order anew."""

    @property
    def is_old(self) -> bool:
        """Whether a replica came or went since."""
        return bool(self._moved)

    @property
    def places(self) -> list[tuple[str, int]]:
        """Topic and index of all, in order."""
        if not self._places:
            self._places = sorted(self.replicas)
        return self._places

    def refresh(self) -> bool:
        """Take in the replicas that came; index all of them anew when some went, and return that.

        Of two topics of one name, one of them about to be deleted, the newer one counts.
        """
        self._places = []
        here, moved = self._here, dict(self._moved)
        self._moved.clear()
        have_gone = any(here.get(one) is not replica for one, replica in moved.items())
        if have_gone:
            self.replicas.clear()
        for group_id, replica in sorted((here if have_gone else moved).items()):
            place = (replica.spec.topic, replica.spec.partition)
            if place not in self.replicas or self.replicas[place].group_id <= group_id:
                self.replicas[place] = replica
        return have_gone
