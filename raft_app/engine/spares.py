"""When spare followers get what waits for them; who is spare, `raft_app.core.spares` says.

That is soon, and while nobody waits for their leader: in the moment after a commit the producer has
its answer, and the quicker follower has nothing to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from raft_app.engine.replica import Replica

WAIT_MS = 10
"""How long entries wait for spare followers, and once more at most for the commit of what is under
way. A message sent alone takes about one: some ten then share what it costs to send and store them.
"""


class SpareSends:
    """Sends what the leaders on one broker owe to their spare followers; lives in its loop."""

    def __init__(self, replicas: Mapping[int, Replica], mark: Callable[[Replica], None]) -> None:
        """Owe nothing yet.

        Args:
            replicas: the engine's, by group id.
            mark: has a replica drained in the next turn.
        """
        self._replicas = replicas
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, Replica] = {}
        """By group id, since `WAIT_MS` at most."""
        self._overdue: dict[int, Replica] = {}
        """Whose time is over, and who are in the middle of a commit."""

    def note(self, replica: Replica) -> None:
        """A leader has entries for spare followers: told in each of its turns while that is so."""
        group_id = replica.group_id
        if group_id in self._overdue:
            if not _is_committing(replica):
                del self._overdue[group_id]
                self._loop.call_soon(self._send, replica)  # after the answers of this turn
            return
        if not self._waiting:
            self._loop.call_later(WAIT_MS / 1000, self._come_due)
        self._waiting[group_id] = replica

    def _come_due(self) -> None:
        due, self._waiting = self._waiting, {}
        for group_id, replica in due.items():
            if not _is_committing(replica):
                self._send(replica)
                continue
            if not self._overdue:
                self._loop.call_later(WAIT_MS / 1000, self._send_overdue)
            self._overdue[group_id] = replica

    def _send_overdue(self) -> None:
        overdue, self._overdue = self._overdue, {}
        for replica in overdue.values():
            self._send(replica)

    def _send(self, replica: Replica) -> None:
        if self._replicas.get(replica.group_id) is replica and replica.node.spares_due:
            replica.node.send_to_spares()
            self._mark(replica)


def _is_committing(replica: Replica) -> bool:
    """Tell whether somebody may wait for what a leader has not committed yet."""
    return replica.node.commit_index < replica.node.last_index
