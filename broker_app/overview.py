"""What all replicas of a broker have together, without looking at each of them again and again.

Thousands of partitions that sleep do not change, so what is asked for every few seconds is kept
here and brought up to date with those that have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import KEEPS_ALL
from broker_app.partition.statemachine import PartitionState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_app.engine.replica import Replica


class Overview:
    """Sums over replicas, and those of them that are like something; lives in the engine's loop.

    All of it is what it was at the last `refresh`.
    """

    def __init__(self, replicas: Mapping[int, Replica], changed: dict[int, Replica]) -> None:
        """Know of no replica yet.

        Args:
            replicas: of the broker, by group id.
            changed: gets every replica that something happened to; they are taken out here.
        """
        self._replicas = replicas
        self._changed = changed
        self._sizes: dict[int, int] = {}
        """Bytes of the batches by group id, of replicas that are not faulty and have some."""
        self.stored_bytes = 0
        self.led: dict[int, Replica] = {}
        """Replicas that serve; by group id, as all of these are."""
        self.with_groups: dict[int, Replica] = {}
        """Of those that serve, the ones that know a consumer group."""
        self.letting_go: dict[int, Replica] = {}
        """Of those that serve, the ones that do not keep their messages for ever."""
        self.filling: dict[int, Replica] = {}
        """Of those that serve, the ones with a table that is more than half full."""
        self.faulty: dict[int, Replica] = {}

    def refresh(self) -> None:
        """Take in what happened since the last call."""
        changed = dict(self._changed)
        self._changed.clear()
        for group_id, replica in changed.items():
            here = self._replicas.get(group_id)
            self._take(group_id, here or replica, is_here=here is not None)

    def _take(self, group_id: int, replica: Replica, *, is_here: bool) -> None:
        state = replica.state_machine
        assert isinstance(state, PartitionState), state
        serves = is_here and replica.serves
        _put(self.led, replica, serves)
        _put(self.with_groups, replica, serves and state.has_groups())
        _put(self.letting_go, replica, serves and state.retention != KEEPS_ALL)
        _put(self.filling, replica, serves and state.is_filling())
        _put(self.faulty, replica, is_here and bool(replica.faulty))
        size_bytes = state.size_bytes if is_here and not replica.faulty else 0
        self.stored_bytes += size_bytes - self._sizes.pop(group_id, 0)
        if size_bytes:
            self._sizes[group_id] = size_bytes


def _put(chosen: dict[int, Replica], replica: Replica, is_chosen: bool) -> None:
    """Have a replica among the chosen or not."""
    if is_chosen:
        chosen[replica.group_id] = replica
    else:
        chosen.pop(replica.group_id, None)
