"""When a member of a group has something to tell its manager or the leaders next. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myqueue.transport.session import Session

NEVER_S = float("inf")


class GroupSchedule:
    """The times of the next heartbeat to the group and of the next round of commits.

    Args:
        session: of the client; whoever drives its heartbeats looks at it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._beat_s = NEVER_S
        self._commit_s = NEVER_S

    def plan_beat(self, pause_s: float) -> None:
        """Have the next heartbeat after so many seconds."""
        self._beat_s = self._session.clock.monotonic() + pause_s
        self._tell()

    def plan_commit(self, pause_s: float) -> None:
        """Have the next round of commits after so many seconds."""
        self._commit_s = self._session.clock.monotonic() + pause_s
        self._tell()

    def is_beat_due(self, now_s: float) -> bool:
        """Tell whether the heartbeat is to be sent."""
        return now_s >= self._beat_s

    def is_commit_due(self, now_s: float) -> bool:
        """Tell whether the round of commits is to begin."""
        return now_s >= self._commit_s

    def hurry(self) -> None:
        """Have the next heartbeat at once: there is something to tell or to learn."""
        self.plan_beat(0.0)
        self._session.wake_beats()

    def _tell(self) -> None:
        self._session.core_due_s = min(self._beat_s, self._commit_s)
