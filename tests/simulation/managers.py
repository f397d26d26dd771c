"""What managers remember of replicas: told by brokers that run, and to brokers that start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.kept import Found, Kept
from raft_app.engine.vouching import Remembered

if TYPE_CHECKING:
    from tests.doubles.storage_replica import MemoryReplica
    from tests.simulation.broker import Broker


class Managers:
    """Remember the most that brokers reported of each of their replicas.

    Attributes:
        rollbacks: folders that were put back to an earlier state so far.
    """

    def __init__(self) -> None:
        self.rollbacks = 0
        self._kept: dict[tuple[int, int, int], Kept] = {}
        """By broker, group and replica id."""

    def exchange(self, broker: Broker) -> None:
        """Take a report of a broker, and tell one that has just started what it had told before."""
        if not (broker.alive and broker.is_ready):
            return
        vouching = broker.engine.vouching
        if vouching.is_waiting:
            vouching.judge(
                Remembered(group_id, replica_id, kept)
                for (broker_id, group_id, replica_id), kept in self._kept.items()
                if broker_id == broker.broker_id
            )
        for replica in broker.replicas.values():
            if not replica.faulty:
                key = (broker.broker_id, replica.group_id, replica.spec.replica_id)
                self._kept[key] = replica.kept.more(self._kept.get(key, replica.kept))

    def have_seen(self, broker_id: int, group_id: int, replica_id: int) -> bool:
        """Tell whether a broker ever reported a replica."""
        return (broker_id, group_id, replica_id) in self._kept

    def know_better(self, broker_id: int, stored: MemoryReplica) -> bool:
        """Tell whether a copy of a replica has less than its broker had reported of it."""
        kept = self._kept.get((broker_id, stored.spec.group_id, stored.spec.replica_id))
        if kept is None:
            return False
        last = stored.last_index()
        return Found(stored.hard_state.term, last, stored.term_at(last) or 0).lacks(kept)
