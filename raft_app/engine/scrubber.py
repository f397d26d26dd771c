"""Verifies stored rows in the background, slowly: what nobody reads would rot unnoticed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from raft_app.engine.throttle import Throttle
from raft_app.storage.storage import CorruptEntry

if TYPE_CHECKING:
    from raft_app.engine.context import EngineContext
    from raft_app.engine.group import Group

logger = logging.getLogger(__name__)


class Scrubber:
    """One pass after the other over all rows of all groups; lives in the engine's loop."""

    def __init__(self, context: EngineContext) -> None:
        """Verify the groups of `context`."""
        self._context = context
        self._throttle = Throttle(context.config.scrub_bytes_per_second)
        self._task: asyncio.Task[None] | None = None
        self.rows = 0
        """Verified since the start."""
        self.passes = 0
        """Complete passes over all groups."""

    def start(self) -> None:
        """Begin a pass, unless one is under way."""
        if self._task is None or self._task.done():
            self._task = self._context.spawn("scrubbing", self._pass())

    async def stop(self) -> None:
        """Give up the pass under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _pass(self) -> None:
        for group in list(self._context.groups.values()):
            await self._scrub(group)
        self.passes += 1

    async def _scrub(self, group: Group) -> None:
        storage, size = self._context.storage, self._context.config.scrub_part_bytes
        after_index, is_complete = 0, False
        while not is_complete and self._context.is_present(group):
            await self._throttle.take(size)
            try:
                step = await self._context.read(storage.scrub, group.group_id, after_index, size)
            except CorruptEntry as error:
                if self._context.is_present(group):
                    self._context.turns.make_faulty(group, str(error))
                return
            self.rows += step.rows
            after_index, is_complete = step.last_index, step.complete
