"""Sends snapshots: the state as applied now, and the messages that the receiver lacks.

A snapshot is a checkpoint that was made durable just before, so all rows below its end are durable
here too. While it is on its way, and until the receiver has caught up with what came meanwhile, a
pin keeps them and the log behind them for a limited time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from raft_app.core.types import SnapshotMeta
from raft_app.engine.retained import Pin
from raft_app.engine.throttle import Throttle
from raft_app.storage.storage import CorruptEntry
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
    from raft_app.storage.storage import Checkpoint
    from raft_app.transport.snapshot_stream import SnapshotPart, SnapshotStream

logger = logging.getLogger(__name__)


class SnapshotSender:
    """The snapshots that the leaders of one engine send; lives in its loop."""

    def __init__(self, context: EngineContext) -> None:
        """Send for the groups of `context`."""
        config = context.config
        self._context = context
        # The receiver gives up when nothing comes for a timeout: a low rate means small parts, and
        # where one row is too large for that, the rate yields.
        patience = config.snapshot_timeout_ms / 1000 / 2 / config.snapshots_sending_max
        self._throttle = Throttle(config.snapshot_bytes_per_second, seconds_max=patience)
        part_bytes = max(1, int(config.snapshot_bytes_per_second * patience))
        self._part_bytes = min(config.snapshot_part_bytes, part_bytes)
        self._slots = asyncio.Semaphore(config.snapshots_sending_max)
        self._tasks: dict[tuple[Group, int], asyncio.Task[None]] = {}
        """By replica here and replica id of the receiver, until their end is reported."""
        self.sent = 0
        """Snapshots that were installed since the start."""

    def send(self, group: Group, peer: int) -> None:
        """Begin to send a snapshot to a peer, unless one is on its way."""
        key = (group, peer)
        if key not in self._tasks:
            self._tasks[key] = self._context.spawn("sending a snapshot", self._run(group, peer))

    async def stop(self) -> None:
        """Give up everything that is on its way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, group: Group, peer: int) -> None:
        is_installed = False
        try:
            async with self._slots:
                is_installed = await self._transfer(group, peer)
        except (SnapshotLost, TimeoutError) as error:
            logger.info(
                "%s: no snapshot for replica %d: %s", group.label, peer, str(error) or "timeout"
            )
        except CorruptEntry as error:
            self._context.turns.make_faulty(group, str(error))
        finally:
            if not is_installed:
                group.retained.pins.pop(peer, None)
            # Before the report: the node may want the next snapshot at once.
            self._tasks.pop((group, peer), None)
        if self._context.is_present(group):
            group.node.report_snapshot(peer, ok=is_installed)
            self._context.turns.mark(group)

    async def _transfer(self, group: Group, peer: int) -> bool:
        """Send one snapshot; return whether the receiver needs no further one.

        Raises:
            SnapshotLost: it cannot be sent, for whatever reason.
            TimeoutError: the receiver does not answer.
            CorruptEntry: a row that it needs is damaged.
        """
        broker_id = group.broker_of(peer)
        if not broker_id or not self._may_send(group):
            raise SnapshotLost("this replica does not lead, or does not know where it is")
        stream = await self._context.transport.open_snapshot(broker_id)
        try:
            offer, checkpoint = await self._make(group, peer)
            await self._send(stream, offer)
            answer = await self._receive(stream)
            if not isinstance(answer, SnapshotAnswer):
                raise SnapshotLost(f"{type(answer).__name__} instead of an answer")
            if not answer.accepted:
                return answer.has_it
            await self._send_rows(stream, group, answer.from_offset, offer.next_offset)
            await self._send_state(stream, checkpoint.state)
            await self._send(stream, SnapshotEnd())
            done = await self._receive(stream)
            if not isinstance(done, SnapshotInstalled):
                raise SnapshotLost(f"{type(done).__name__} instead of a confirmation")
        finally:
            stream.close()
        self.sent += 1
        logger.info("%s: replica %d has a snapshot up to %s", group.label, peer, offer.meta)
        return True

    def _may_send(self, group: Group) -> bool:
        """Tell whether this replica leads; it may need the receiver before it can serve."""
        return self._context.is_present(group) and group.is_leader and group.applied_index > 0

    async def _make(self, group: Group, peer: int) -> tuple[SnapshotOffer, Checkpoint]:
        """Make a durable checkpoint of now, pin what it needs, and describe it."""
        if not self._may_send(group):
            raise SnapshotLost("this replica no longer leads")
        config, machine = self._context.config, group.state_machine
        checkpoint, durable = self._context.replicas.submit_checkpoint(group)
        meta = SnapshotMeta(
            checkpoint.applied_index,
            checkpoint.applied_term,
            checkpoint.membership,
            checkpoint.membership_index,
        )
        offer = SnapshotOffer(
            group_id=group.group_id,
            to=peer,
            sender=group.spec.replica_id,
            term=group.term,
            meta=meta,
            log_start_offset=machine.log_start_offset,
            next_offset=machine.next_offset,
            state_bytes=len(checkpoint.state),
        )
        group.retained.pins[peer] = Pin(
            first_index=meta.last_index + 1,
            log_start_offset=offer.log_start_offset,
            until=self._context.loop.time() + config.snapshot_pin_ms / 1000,
        )
        await self._context.replicas.wait(durable)
        return offer, checkpoint

    async def _send_rows(
        self, stream: SnapshotStream, group: Group, offset: int, next_offset: int
    ) -> None:
        storage = self._context.storage
        while offset < next_offset:
            if not self._may_send(group):
                raise SnapshotLost("this replica no longer leads")
            rows = await self._context.read(
                storage.read_rows, group.group_id, offset, next_offset, self._part_bytes
            )
            if not rows or rows[0].base_offset != offset:
                raise SnapshotLost(f"the messages from offset {offset} are gone")
            await self._throttle.take(sum(row.size_bytes for row in rows))
            await self._send(stream, SnapshotRows(tuple(rows)))
            offset = rows[-1].base_offset + rows[-1].record_count

    async def _send_state(self, stream: SnapshotStream, state: bytes) -> None:
        size = self._part_bytes
        for start in range(0, len(state), size):
            piece = state[start : start + size]
            await self._throttle.take(len(piece))
            await self._send(stream, SnapshotState(piece))

    async def _send(self, stream: SnapshotStream, part: SnapshotPart) -> None:
        async with asyncio.timeout(self._context.config.snapshot_timeout_ms / 1000):
            await stream.send(part)

    async def _receive(self, stream: SnapshotStream) -> SnapshotPart:
        async with asyncio.timeout(self._context.config.snapshot_timeout_ms / 1000):
            return await stream.receive()
