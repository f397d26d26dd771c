"""The state machine of a partition, watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker_app.partition.statemachine import PartitionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Entry


class WatchedState(PartitionState):
    """Tells of each entry before it applies it.

    Attributes:
        on_applied: told; returns whether no other replica has applied it before.
        on_result: told afterwards what an entry came to, when none has.
        last_index: of the entry that was applied last; 0 when none was since it was made.
    """

    on_applied: Callable[[WatchedState, Entry], bool]
    on_result: Callable[[WatchedState, Entry, Any], None]
    last_index = 0

    def apply(self, entry: Entry) -> Any:
        is_first = self.on_applied(self, entry)
        self.last_index = entry.index
        result = super().apply(entry)
        if is_first:
            self.on_result(self, entry, result)
        return result

    def restore(self, snapshot: bytes) -> None:
        self.last_index = 0
        super().restore(snapshot)
