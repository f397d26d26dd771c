"""The last events of a run, formatted only when somebody wants to read them."""

from __future__ import annotations

from collections import deque

from tests.raft_app.core.simulation.plan import TICK


class Trace:
    """A ring of events."""

    def __init__(self, length: int = 400) -> None:
        self._events: deque[tuple[int, int, str, object]] = deque(maxlen=length)

    def note(self, time: int, replica_id: int, what: str, value: object = "") -> None:
        """Remember that `what` happened at a replica (0: none in particular)."""
        self._events.append((time, replica_id, what, value))

    def lines(self, count: int) -> list[str]:
        """Return the last `count` events, oldest first."""
        return [
            f"{time / TICK:10.3f}  {f'replica {replica_id}' if replica_id else '-':<10} "
            f"{what:<16} {value}"
            for time, replica_id, what, value in list(self._events)[-count:]
        ]
