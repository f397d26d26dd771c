"""What a broker found in its folder at the start votes only when somebody has vouched for it.

A folder that was copied back from a backup, or rolled back with its disk, looks whole: every
checksum is right. Only others can tell that it is older than what it once acknowledged. Until they
have been asked, or have not answered for a while, no replica that was stored here gives a vote or
campaigns; it follows a leader that the others elect, and what it stores then counts. What is
compared is what it had at the start: a term that it hears of later hides what it forgot.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.engine.kept import found_in

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from http_base.kept import Kept
    from raft_app.engine.loop import EngineLoop
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What somebody else remembers of a replica here."""

    group_id: int
    replica_id: int
    kept: Kept


class Vouching:
    """Lets the replicas that were stored here vote, once it is known that they are not old."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        engine_loop: EngineLoop,
        *,
        on_allowed: Callable[[], None],
    ) -> None:
        """Withhold nothing yet.

        Args:
            replicas: of the engine, by group id.
            engine_loop: makes replicas faulty.
            on_allowed: called when the replicas may vote.
        """
        self._on_allowed = on_allowed
        self._replicas = replicas
        self._engine_loop = engine_loop
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """True while the replicas that were stored here do not vote."""
        return self._timer is not None

    def begin(self, loop: asyncio.AbstractEventLoop, wait_ms: int) -> None:
        """Let no stored replica vote until `judge` was called, or `wait_ms` have passed."""
        if not self._replicas or not wait_ms:
            self._on_allowed()
            return
        for replica in self._replicas.values():
            replica.node.withhold_votes()
            if not replica.node.log.is_frozen:  # else what it had is being replaced
                replica.found_at_start = found_in(replica.node.log)
        self._timer = loop.call_later(wait_ms / 1000, self._give_up, wait_ms)

    def judge(self, remembered: Iterable[Remembered]) -> None:
        """Take out of service what has less than is remembered of it, and let the others vote."""
        for one in remembered:
            replica = self._replicas.get(one.group_id)
            if replica is None or replica.spec.replica_id != one.replica_id:
                continue
            found = replica.found
            if found.lacks(one.kept) and not replica.node.log.is_frozen:
                self._engine_loop.make_faulty(
                    replica,
                    f"its log ended at {found.last_index} in term {found.term}, and it had"
                    f" told of {one.kept.index} in term {one.kept.term}: it was restored from an"
                    " older copy",
                )
        self._allow()

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self, waited_ms: int) -> None:
        logger.warning(
            "no manager said within %d ms what the replicas here had stored before; they take part"
            " as they are",
            waited_ms,
        )
        self._allow()

    def _allow(self) -> None:
        if not self.is_waiting:
            return
        self.stop()
        for replica in self._replicas.values():
            replica.found_at_start = None
            replica.node.allow_votes()
            self._engine_loop.mark(replica)
        self._on_allowed()
