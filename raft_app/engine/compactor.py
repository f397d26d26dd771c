"""Compacts logs: entries far below a checkpoint go, and messages below the log start offset.

One bounded step at a time for the whole broker, between the transactions of its logs. Only what
a durable checkpoint covers is deleted: the rows, and the decision to let messages go.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from raft_app.core.progress import ProgressState
from raft_app.engine.context import is_present
from raft_app.engine.local_replicas import Event
from raft_app.storage.protocol import Compact, ReleaseSpace
from raft_app.storage.stream import BROKER_STREAM

if TYPE_CHECKING:
    from raft_app.engine.config import EngineConfig
    from raft_app.engine.local_replicas import LocalReplicas
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Storage
    from raft_app.storage.stream import StorageStream


class Compactor:
    """Compacts the replicas of one engine and gives space back; lives in its loop."""

    def __init__(
        self,
        replicas: LocalReplicas,
        storage: Storage,
        stream: StorageStream,
        config: EngineConfig,
    ) -> None:
        """Take care of some replicas.

        Args:
            replicas: of the engine.
            storage: tells what is left to do.
            stream: the steps are done through it.
            config: limits.
        """
        self._changed = replicas.watch(Event.APPLIED, Event.STORED)
        """They are taken out once there is nothing to delete."""
        self._replicas = replicas
        self._storage = storage
        self._stream = stream
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, Replica] = {}
        self._is_compacting = False
        self._is_releasing = False
        self._is_stopped = False

    def stop(self) -> None:
        """Begin no step any more; what is left is done after the next start."""
        self._is_stopped = True
        self._due.clear()

    def run(self) -> None:
        """Look for replicas with something to delete; the steps follow each other by themselves.

        Only those are looked at that have changed, or that a follower or a snapshot holds back.
        """
        now = self._loop.time()
        for group_id, replica in list(self._changed.items()):
            if not is_present(replica, self._replicas) or not may_compact(replica, self._config):
                del self._changed[group_id]
            elif plan_compact(replica, self._config, now) is not None:
                del self._changed[group_id]
                self._due[group_id] = replica
        self._compact_next()

    def release(self) -> None:
        """Give the space of deleted rows back, step by step."""
        if not (self._is_releasing or self._is_stopped):
            self._is_releasing = True
            self._stream.submit(BROKER_STREAM, ReleaseSpace(), self._released)
            self._stream.flush()

    def _released(self) -> None:
        self._is_releasing = False
        if self._storage.release_left():
            self.release()

    def _compact_next(self) -> None:
        while self._due and not self._is_compacting:
            replica = self._due.pop(next(iter(self._due)))
            if not is_present(replica, self._replicas):
                continue
            plan = plan_compact(replica, self._config, self._loop.time())
            if plan is None:
                self._changed[replica.group_id] = replica
                continue
            operation = plan.operation
            replica.log_start.told = operation.log_start_offset
            # The node hears of it first, so that it asks for nothing that is being deleted.
            replica.node.compacted(operation.first_index, operation.previous_term)
            self._submit(replica, plan)

    def _submit(self, replica: Replica, plan: CompactPlan) -> None:
        self._is_compacting = True
        on_durable = partial(self._compacted, replica, plan)
        self._stream.submit(replica.group_id, plan.operation, on_durable)
        self._stream.flush()

    def _compacted(self, replica: Replica, plan: CompactPlan) -> None:
        """Go on with the same replica while something is left, then with the next one."""
        self._is_compacting = False
        if is_present(replica, self._replicas) and not replica.node.is_installing:
            if self._storage.compact_left(replica.group_id):
                if not self._is_stopped:
                    self._submit(replica, plan)
                return
            if plan.cuts_all:
                replica.log_start.cut = plan.operation.log_start_offset
            self._changed[replica.group_id] = replica
        self.release()
        self._compact_next()


@dataclass(frozen=True, slots=True)
class CompactPlan:
    """A compaction and what it achieves."""

    operation: Compact
    cuts_all: bool
    """No row below its log start offset remains."""


def may_compact(replica: Replica, config: EngineConfig) -> bool:
    """Tell whether a compaction would be worth it if no follower and no snapshot held it back.

    It says the same until a checkpoint is durable, or the log is compacted.
    """
    first_index, log_start_offset = _covered(replica, config)
    return _is_due(replica, config, first_index, log_start_offset)


def _covered(replica: Replica, config: EngineConfig) -> tuple[int, int]:
    """Return from which index and offset on a replica needs what it stores."""
    durable = replica.applied.durable
    first_index = durable.index + 1
    if durable.log_start_offset <= replica.log_start.cut:
        first_index -= config.log_tail_entries
    return max(first_index, replica.node.first_index), durable.log_start_offset


def _is_due(
    replica: Replica, config: EngineConfig, first_index: int, log_start_offset: int
) -> bool:
    """Tell whether it is worth it to delete what is below an index and an offset."""
    if log_start_offset > replica.log_start.told:
        return True
    lets_go = log_start_offset > replica.log_start.cut
    least = 1 if lets_go else max(1, config.log_tail_entries)
    return first_index - replica.node.first_index >= least


def plan_compact(replica: Replica, config: EngineConfig, now: float) -> CompactPlan | None:
    """Return the compaction that a replica needs; None when it is not worth one.

    A log keeps a tail behind its checkpoint, unless rows of messages that nobody wants any more
    lie in that tail. Its leader keeps what followers miss that it hears, up to a limit.
    """
    if replica.faulty or replica.node.is_installing or (replica.is_leader and not replica.serves):
        return None
    node = replica.node
    first_index, log_start_offset = _covered(replica, config)
    if not _is_due(replica, config, first_index, log_start_offset):
        return None
    for index in _needed_indexes(replica, config):
        first_index = min(first_index, index)
    _release_pins(replica, config, now)
    for pin in replica.pins.values():
        first_index = min(first_index, pin.first_index)
        log_start_offset = min(log_start_offset, pin.log_start_offset)
    first_index = max(first_index, node.first_index)
    previous_term = node.term_at(first_index - 1)
    is_due = _is_due(replica, config, first_index, log_start_offset)
    if not is_due or previous_term is None:
        return None
    return CompactPlan(
        Compact(replica.group_id, first_index, previous_term, log_start_offset),
        cuts_all=first_index == replica.applied.durable.index + 1,
    )


def _release_pins(replica: Replica, config: EngineConfig, now: float) -> None:
    """Forget the pins whose time is over, and those of receivers that have caught up."""
    pins = replica.pins
    if not pins:
        return
    progress = replica.node.status().progress if replica.node.is_leader else {}
    for peer, pin in list(pins.items()):
        state = progress.get(peer)
        has_caught_up = (
            state is not None
            and state.state is ProgressState.REPLICATE
            and state.match + config.log_tail_entries >= replica.node.last_index
        )
        if pin.until <= now or state is None or has_caught_up:
            del pins[peer]


def _needed_indexes(replica: Replica, config: EngineConfig) -> list[int]:
    """Return, on a leader, the next index of each follower that is heard and not too far behind."""
    if not replica.node.is_leader:
        return []
    sizes = replica.applied.sizes
    lowest = 0
    if sizes.size_bytes >= config.log_keep_bytes:
        lowest = sizes.last_leaving(config.log_keep_bytes) + 1
    return [
        max(peer.match + 1, lowest)
        for peer in replica.node.status().progress.values()
        if peer.is_heard and peer.state is not ProgressState.SNAPSHOT
    ]
