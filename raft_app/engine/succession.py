"""Requests that come between two leaders, and wait for the next one.

While leadership is handed over, for some milliseconds, nobody takes proposals. Whoever asks then
would be sent away with a pause to make, of which most is too much. So a request waits where it is:
until this replica serves, or can say who leads, to whom the caller goes at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from raft_app.core.types import NO_REPLICA

if TYPE_CHECKING:
    from raft_app.engine.replica import Replica

HAND_OVER_MS = 1_000
"""Longest wait at a leader: about as long as it waits itself for whom it hands over to."""
ELECTION_MS = 100
"""Longest wait where nobody is known to lead: others may know more."""


def is_between_leaders(replica: Replica) -> bool:
    """Tell whether nobody leads whom a replica could name, nor does it take proposals itself.

    So it is in an election, until a new leader has applied its no-op, and while leadership is
    handed over.
    """
    node = replica.node
    if node.is_leader:
        is_between = not node.serves or node.transferee != NO_REPLICA
    else:
        is_between = not replica.leader_broker_id
    return is_between and not replica.faulty


class Succession:
    """Waits for the next leaders of the groups of one broker; lives in the engine's loop."""

    def __init__(self) -> None:
        """Wait for none yet."""
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        """By group id."""

    async def wait(self, replica: Replica, timeout_ms: int) -> int:
        """Return when it is known who leads, after `timeout_ms` at the latest.

        A leader is waited for up to `HAND_OVER_MS`, an election up to `ELECTION_MS`.

        Returns:
            How long that was, in milliseconds.
        """
        loop = asyncio.get_running_loop()
        began_s, group_id = loop.time(), replica.group_id
        known: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(group_id, []).append(known)
        longest_ms = HAND_OVER_MS if replica.node.is_leader else ELECTION_MS
        try:
            await asyncio.wait((known,), timeout=min(longest_ms, timeout_ms) / 1000)
        finally:
            waiting = self._waiting.get(group_id, [])
            if known in waiting:
                waiting.remove(known)
            if not waiting:
                self._waiting.pop(group_id, None)
        return int((loop.time() - began_s) * 1000)

    def leadership_changed(self, replica: Replica) -> None:
        """Let those go on who waited for the next leader, when it is known."""
        if replica.group_id in self._waiting and not is_between_leaders(replica):
            for known in self._waiting.pop(replica.group_id):
                if not known.done():
                    known.set_result(None)
