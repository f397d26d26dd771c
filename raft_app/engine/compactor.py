"""Keeps what is stored short: logs begin not far below their checkpoints, old messages go.

One bounded step at a time for the whole broker, between the transactions of its logs. What may be
deleted a durable checkpoint covers: the rows, and the decision to let messages go.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from raft_app.core.progress import ProgressState
from raft_app.storage.protocol import Compact, ReleaseSpace
from raft_app.storage.stream import BROKER_STREAM

if TYPE_CHECKING:
    from raft_app.engine.config import EngineConfig
    from raft_app.engine.context import EngineContext
    from raft_app.engine.replica import Group


class Upkeep:
    """Compacts the groups of one engine and gives space back; lives in its loop."""

    def __init__(self, context: EngineContext) -> None:
        """Take care of the groups of `context`."""
        self._context = context
        self._due: dict[int, Group] = {}
        self._is_compacting = False
        self._is_releasing = False
        self._is_stopped = False

    def stop(self) -> None:
        """Begin no step any more; what is left is done after the next start."""
        self._is_stopped = True
        self._due.clear()

    def run(self) -> None:
        """Look for groups with something to delete; the steps follow each other by themselves."""
        now = self._context.loop.time()
        for group_id, group in self._context.groups.items():
            if plan_compact(group, self._context.config, now) is not None:
                self._due[group_id] = group
        self._compact_next()

    def release(self) -> None:
        """Give the space of deleted rows back, step by step."""
        if not (self._is_releasing or self._is_stopped):
            self._is_releasing = True
            self._context.stream.submit(BROKER_STREAM, ReleaseSpace(), self._released)
            self._context.stream.flush()

    def _released(self) -> None:
        self._is_releasing = False
        if self._context.storage.release_left():
            self.release()

    def _compact_next(self) -> None:
        while self._due and not self._is_compacting:
            group = self._due.pop(next(iter(self._due)))
            if not self._context.is_present(group):
                continue
            plan = plan_compact(group, self._context.config, self._context.loop.time())
            if plan is None:
                continue
            operation = plan.operation
            group.retained.told_log_start = operation.log_start_offset
            # The node hears of it first, so that it asks for nothing that is being deleted.
            group.node.compacted(operation.first_index, operation.previous_term)
            self._submit(group, plan)

    def _submit(self, group: Group, plan: CompactPlan) -> None:
        self._is_compacting = True
        on_durable = partial(self._compacted, group, plan)
        self._context.stream.submit(group.group_id, plan.operation, on_durable)
        self._context.stream.flush()

    def _compacted(self, group: Group, plan: CompactPlan) -> None:
        """Go on with the same group while something is left, then with the next one."""
        self._is_compacting = False
        if self._context.is_present(group) and not group.is_installing:
            if self._context.storage.compact_left(group.group_id):
                if not self._is_stopped:
                    self._submit(group, plan)
                return
            if plan.cuts_all:
                group.retained.cut_log_start = plan.operation.log_start_offset
        self.release()
        self._compact_next()


@dataclass(frozen=True, slots=True)
class CompactPlan:
    """A compaction and what it achieves."""

    operation: Compact
    cuts_all: bool
    """No row below its log start offset remains."""


def plan_compact(group: Group, config: EngineConfig, now: float) -> CompactPlan | None:
    """Return the compaction that a group needs; None when it is not worth one.

    A log keeps a tail behind its checkpoint, unless rows of messages that nobody wants any more
    lie in that tail. Its leader keeps what followers miss that it hears, up to a limit.
    """
    if group.faulty or group.is_installing or (group.is_leader and not group.serves):
        return None
    durable, retained, node = group.applied.durable, group.retained, group.node
    log_start_offset = durable.log_start_offset
    first_index = durable.index + 1
    if log_start_offset <= retained.cut_log_start:
        first_index -= config.log_tail_entries
    if first_index <= node.first_index and log_start_offset <= retained.told_log_start:
        return None
    for index in _needed_indexes(group, config):
        first_index = min(first_index, index)
    _release_pins(group, config, now)
    for pin in retained.pins.values():
        first_index = min(first_index, pin.first_index)
        log_start_offset = min(log_start_offset, pin.log_start_offset)
    first_index = max(first_index, node.first_index)
    lets_go = log_start_offset > retained.cut_log_start
    is_due = log_start_offset > retained.told_log_start or first_index - node.first_index >= (
        1 if lets_go else max(1, config.log_tail_entries)
    )
    previous_term = node.term_at(first_index - 1)
    if not is_due or previous_term is None:
        return None
    return CompactPlan(
        Compact(group.group_id, first_index, previous_term, log_start_offset),
        cuts_all=first_index == durable.index + 1,
    )


def _release_pins(group: Group, config: EngineConfig, now: float) -> None:
    """Forget the pins whose time is over, and those of receivers that have caught up."""
    pins = group.retained.pins
    if not pins:
        return
    progress = group.node.status().progress if group.node.is_leader else {}
    for peer, pin in list(pins.items()):
        state = progress.get(peer)
        has_caught_up = (
            state is not None
            and state.state is ProgressState.REPLICATE
            and state.match + config.log_tail_entries >= group.last_index
        )
        if pin.until <= now or state is None or has_caught_up:
            del pins[peer]


def _needed_indexes(group: Group, config: EngineConfig) -> list[int]:
    """Return, on a leader, the next index of each follower that is heard and not too far behind."""
    if not group.node.is_leader:
        return []
    sizes = group.applied.sizes
    lowest = 0
    if sizes.size_bytes >= config.log_keep_bytes:
        lowest = sizes.last_leaving(config.log_keep_bytes) + 1
    return [
        max(peer.match + 1, lowest)
        for peer in group.node.status().progress.values()
        if peer.is_heard and peer.state is not ProgressState.SNAPSHOT
    ]
