"""Which replica of a broker is that of a partition; what came or went is taken in when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_app.engine.engine import Engine
    from raft_app.engine.replica import Replica


class PlaceIndex:
    """The replicas of an engine by topic and partition; right after a `refresh`."""

    def __init__(self, engine: Engine) -> None:
        """Index nothing yet."""
        self.replicas: dict[tuple[str, int], Replica] = {}
        self._engine = engine
        self._changed = engine.watch()
        self._change_count = -1
        """The engine's count of replicas that came and went when this was right."""
        self._places: list[tuple[str, int]] = []
        """In order; empty when they are to be put in order anew."""

    @property
    def is_old(self) -> bool:
        """Whether a replica came or went since."""
        return self._change_count != self._engine.replica_table.change_count

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
        self._change_count = self._engine.replica_table.change_count
        self._places = []
        here, changed = self._engine.replicas, dict(self._changed)
        self._changed.clear()
        have_gone = any(here.get(one) is not replica for one, replica in changed.items())
        if have_gone:
            self.replicas.clear()
        for group_id, replica in sorted((here if have_gone else changed).items()):
            place = (replica.spec.topic, replica.spec.partition)
            if place not in self.replicas or self.replicas[place].group_id <= group_id:
                self.replicas[place] = replica
        return have_gone
