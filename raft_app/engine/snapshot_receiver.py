"""Takes snapshots in: answers an offer, puts the rows in place, and goes on from the state.

Nothing half-received counts: rows in place are messages that the group has committed, whoever sent
them, and the rest is replaced in one transaction at the end. What breaks off goes on with the next
offer where the rows in place end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from raft_app.engine.snapshot_install import SnapshotInstall
from raft_app.transport.snapshot_stream import (
    SnapshotAnswer,
    SnapshotEnd,
    SnapshotInstalled,
    SnapshotLost,
    SnapshotOffer,
    SnapshotRows,
    SnapshotState,
)

if TYPE_CHECKING:
    from raft_app.engine.context import EngineContext
    from raft_app.engine.group import Group
    from raft_app.transport.snapshot_stream import SnapshotPart, SnapshotStream

logger = logging.getLogger(__name__)


class SnapshotReceiver:
    """The snapshots that the replicas of one engine get; lives in its loop."""

    def __init__(self, context: EngineContext) -> None:
        """Receive for the groups of `context`."""
        self._context = context
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._groups: set[int] = set()
        """Ids of the groups that get one."""
        self.received = 0
        """Snapshots installed since the start."""

    def receive(self, stream: SnapshotStream) -> None:
        """Take over a connection that a peer made."""
        task = self._context.spawn("receiving a snapshot", self._run(stream))
        self._tasks[task] = None
        task.add_done_callback(lambda _: self._tasks.pop(task, None))

    async def stop(self) -> None:
        """Give up everything that is on its way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, stream: SnapshotStream) -> None:
        try:
            offer = await self._next(stream)
            if not isinstance(offer, SnapshotOffer):
                raise SnapshotLost(f"{type(offer).__name__} instead of an offer")
            await self._answer(stream, offer)
        except (SnapshotLost, TimeoutError) as error:
            logger.info("snapshot from broker %d: %s", stream.broker_id, str(error) or "timeout")
        finally:
            stream.close()

    async def _answer(self, stream: SnapshotStream, offer: SnapshotOffer) -> None:
        group = self._receiver_of(stream, offer)
        if group is None:
            await self._send(stream, SnapshotAnswer(accepted=False))
            return
        is_wanted = group.node.offer_snapshot(offer.sender, offer.term, offer.meta)
        self._context.turns.mark(group)
        install = SnapshotInstall(self._context, group, offer)
        if not is_wanted or not install.fits:
            has_it = not is_wanted and not group.is_installing
            await self._send(stream, SnapshotAnswer(accepted=False, has_it=has_it))
            return
        self._groups.add(group.group_id)
        group.node.begin_install()
        try:
            await self._install(stream, install)
        finally:
            self._groups.discard(group.group_id)
            install.leave()
            self._context.turns.mark(group)

    async def _install(self, stream: SnapshotStream, install: SnapshotInstall) -> None:
        await self._send(stream, SnapshotAnswer(accepted=True, from_offset=install.next_offset))
        while True:
            part = await self._next(stream)
            match part:
                case SnapshotRows(entries=entries):
                    await install.put_rows(entries)
                case SnapshotState(data=data):
                    install.put_state(data)
                case SnapshotEnd():
                    await install.finish()
                    self.received += 1
                    await self._send(stream, SnapshotInstalled())
                    return
                case _:
                    raise SnapshotLost(f"{type(part).__name__} in the middle of a snapshot")

    def _receiver_of(self, stream: SnapshotStream, offer: SnapshotOffer) -> Group | None:
        """Return the group that may take the offer now."""
        group = self._context.groups.get(offer.group_id)
        if group is None or group.faulty or group.is_leader:
            return None
        if not group.admits(stream.broker_id, offer.to, offer.sender):
            return None
        is_busy = offer.group_id in self._groups
        if is_busy or len(self._groups) >= self._context.config.snapshots_receiving_max:
            return None
        return group

    async def _send(self, stream: SnapshotStream, part: SnapshotPart) -> None:
        async with asyncio.timeout(self._context.config.snapshot_timeout_ms / 1000):
            await stream.send(part)

    async def _next(self, stream: SnapshotStream) -> SnapshotPart:
        async with asyncio.timeout(self._context.config.snapshot_timeout_ms / 1000):
            return await stream.receive()
