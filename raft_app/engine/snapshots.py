"""Snapshots between brokers: sent by a leader, received and put in place by a follower.

A snapshot is the state as applied and the messages that the receiver lacks. It is a checkpoint that
was made durable just before, so all rows below its end are durable here too. While it is on its
way, and until the receiver has caught up with what came meanwhile, a pin keeps them and the log
behind them for a limited time.

The receiver answers an offer, puts the rows in place, and goes on from the state. Nothing
half-received counts: rows in place are messages that the group has committed, whoever sent them,
and the rest is replaced in one transaction at the end. What breaks off goes on with the next offer
where the rows in place end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from raft_app.core.types import HardState, SnapshotMeta
from raft_app.engine.replica import Pin
from raft_app.engine.throttle import Throttle
from raft_app.failpoints import reach
from raft_app.statemachine import InconsistentEntry
from raft_app.storage.protocol import Checkpoint, CorruptEntry, FinishInstall, InstallRows
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
    from raft_app.core.types import Entry
    from raft_app.engine.context import EngineContext
    from raft_app.engine.replica import Replica
    from raft_app.engine.replica_table import ReplicaTable
    from raft_app.transport.protocol import RaftTransport
    from raft_app.transport.snapshot_stream import SnapshotPart, SnapshotStream


logger = logging.getLogger(__name__)

STATE_BYTES_MAX = 256 << 20
"""A larger state is refused."""


class SnapshotInstall:
    """Rows and state of one offer; each row goes to storage before the next ones are taken."""

    def __init__(
        self,
        context: EngineContext,
        replica_table: ReplicaTable,
        replica: Replica,
        offer: SnapshotOffer,
    ) -> None:
        """Begin where the messages of the replica end, or of an install that broke off."""
        self._context = context
        self._replica_table = replica_table
        self._replica = replica
        self._offer = offer
        self._state = bytearray()
        self._is_done = False
        has = replica.install_offset
        self.next_offset = max(
            replica.state_machine.next_offset if has is None else has, offer.log_start_offset
        )
        """Of the next message that is to come."""
        self._last_index = 0

    @property
    def fits(self) -> bool:
        """True when the snapshot reaches as far as what is in place already."""
        return (
            self.next_offset <= self._offer.next_offset
            and self._offer.meta.last_index > self._replica.applied.index
            and self._offer.state_bytes <= STATE_BYTES_MAX
        )

    async def put_rows(self, entries: tuple[Entry, ...]) -> None:
        """Put the next rows in place; durable when this returns.

        Raises:
            SnapshotLost: they are not the next ones, or the replica is gone.
        """
        self._check_rows(entries)
        self._require_present()
        group_id = self._replica.group_id
        self._submit_checkpoint()
        self._replica.install_offset = self.next_offset
        operation = InstallRows(group_id, entries, self._offer.log_start_offset)
        await self._replica_table.store(group_id, operation)
        reach("snapshot.rows-stored")

    def put_state(self, piece: bytes) -> None:
        """Take in the next piece of the state.

        Raises:
            SnapshotLost: there is more of it than was offered.
        """
        self._state += piece
        if len(self._state) > self._offer.state_bytes:
            raise SnapshotLost("more state than was offered")

    async def finish(self) -> None:
        """Make the snapshot the whole state of the replica; durable and in force when it returns.

        Raises:
            SnapshotLost: something is missing, or the replica is gone.
        """
        replica, offer = self._replica, self._offer
        state = bytes(self._state)
        self._check_whole(state)
        self._require_present()
        meta = offer.meta
        checkpoint = Checkpoint(
            applied_index=meta.last_index,
            applied_term=meta.last_term,
            membership=meta.membership,
            membership_index=meta.membership_index,
            state=state,
        )
        self._submit_checkpoint()
        replica.install_offset = self.next_offset
        status = replica.node.status()
        operation = FinishInstall(
            replica.group_id,
            checkpoint,
            offer.log_start_offset,
            offer.next_offset,
            # The term of the offer may not be stored yet; the snapshot must not be ahead of it.
            HardState(status.term, status.vote, meta.last_index),
        )
        await self._replica_table.store(replica.group_id, operation)
        reach("snapshot.stored")
        self._require_present()
        self._is_done = True
        replica.snapshot_installed(checkpoint, meta)
        self._context.engine_loop.note_replaced(replica)
        logger.info("%s: took a snapshot up to index %d", replica.label, meta.last_index)

    def leave(self) -> None:
        """End it: with nothing in place yet, the replica goes on with the log that it has."""
        replica = self._replica
        if not self._is_done and replica.install_offset is None and replica.node.is_installing:
            replica.node.abort_install()

    def _submit_checkpoint(self) -> None:
        """Before the first row, store what is applied: the log above it is given up."""
        if self._replica.install_offset is None:
            self._replica_table.submit_checkpoint(self._replica)

    def _require_present(self) -> None:
        if not self._context.is_present(self._replica):
            raise SnapshotLost("the replica is gone or faulty")

    def _check_rows(self, entries: tuple[Entry, ...]) -> None:
        index = max(self._last_index, self._replica.applied.index)
        for entry in entries:
            is_next = entry.base_offset == self.next_offset and entry.record_count > 0
            if not is_next or not index < entry.index <= self._offer.meta.last_index:
                raise SnapshotLost(f"row {entry.index} is not the next one")
            index = entry.index
            self.next_offset += entry.record_count
        if not entries or self.next_offset > self._offer.next_offset:
            raise SnapshotLost("not as many rows as were offered")
        self._last_index = index

    def _check_whole(self, state: bytes) -> None:
        """See that everything came and can be read, before anything is replaced."""
        offer = self._offer
        if self.next_offset != offer.next_offset or len(state) != offer.state_bytes:
            raise SnapshotLost("rows or state are missing")
        try:
            machine = self._replica_table.make_state_machine(self._replica.spec, state)
        except InconsistentEntry as error:
            raise SnapshotLost(f"the state cannot be read: {error}") from error
        if (machine.log_start_offset, machine.next_offset) != (
            offer.log_start_offset,
            offer.next_offset,
        ):
            raise SnapshotLost("the state is not that of the offer")


class SnapshotReceiver:
    """The snapshots that the replicas of one engine get; lives in its loop."""

    def __init__(self, context: EngineContext, replica_table: ReplicaTable) -> None:
        """Receive for the replicas of `context`; what comes is stored through `replica_table`."""
        self._context = context
        self._replica_table = replica_table
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._replicas: set[int] = set()
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
        replica = self._receiver_of(stream, offer)
        if replica is None:
            await self._send(stream, SnapshotAnswer(accepted=False))
            return
        is_wanted = replica.node.offer_snapshot(offer.sender, offer.term, offer.meta)
        self._context.engine_loop.mark(replica)
        install = SnapshotInstall(self._context, self._replica_table, replica, offer)
        if not is_wanted or not install.fits:
            has_it = not is_wanted and not replica.node.is_installing
            await self._send(stream, SnapshotAnswer(accepted=False, has_it=has_it))
            return
        self._replicas.add(replica.group_id)
        replica.node.begin_install()
        try:
            await self._install(stream, install)
        finally:
            self._replicas.discard(replica.group_id)
            install.leave()
            self._context.engine_loop.mark(replica)

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

    def _receiver_of(self, stream: SnapshotStream, offer: SnapshotOffer) -> Replica | None:
        """Return the replica that may take the offer now."""
        replica = self._context.replicas.get(offer.group_id)
        if replica is None or replica.faulty or replica.is_leader:
            return None
        if not replica.admits(stream.broker_id, offer.to, offer.sender):
            return None
        is_busy = offer.group_id in self._replicas
        if is_busy or len(self._replicas) >= self._context.config.snapshots_receiving_max:
            return None
        return replica

    async def _send(self, stream: SnapshotStream, part: SnapshotPart) -> None:
        async with asyncio.timeout(self._context.config.snapshot_timeout_ms / 1000):
            await stream.send(part)

    async def _next(self, stream: SnapshotStream) -> SnapshotPart:
        async with asyncio.timeout(self._context.config.snapshot_timeout_ms / 1000):
            return await stream.receive()


class SnapshotSender:
    """The snapshots that the leaders of one engine send; lives in its loop."""

    def __init__(
        self, context: EngineContext, replica_table: ReplicaTable, transport: RaftTransport
    ) -> None:
        """Send for the replicas of `context`.

        Args:
            context: of the engine.
            replica_table: stores the checkpoint that is sent.
            transport: snapshots travel over it.
        """
        config = context.config
        self._context = context
        self._replica_table = replica_table
        self._transport = transport
        # The receiver gives up when nothing comes for a timeout: a low rate means small parts, and
        # where one row is too large for that, the rate yields.
        patience = config.snapshot_timeout_ms / 1000 / 2 / config.snapshots_sending_max
        self._throttle = Throttle(config.snapshot_bytes_per_second, seconds_max=patience)
        part_bytes = max(1, int(config.snapshot_bytes_per_second * patience))
        self._part_bytes = min(config.snapshot_part_bytes, part_bytes)
        self._slots = asyncio.Semaphore(config.snapshots_sending_max)
        self._tasks: dict[tuple[Replica, int], asyncio.Task[None]] = {}
        """By replica here and replica id of the receiver, until their end is reported."""
        self.sent = 0
        """Snapshots that were installed since the start."""

    def send(self, replica: Replica, peer: int) -> None:
        """Begin to send a snapshot to a peer, unless one is on its way."""
        key = (replica, peer)
        if key not in self._tasks:
            self._tasks[key] = self._context.spawn("sending a snapshot", self._run(replica, peer))

    async def stop(self) -> None:
        """Give up everything that is on its way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, replica: Replica, peer: int) -> None:
        is_installed = False
        try:
            async with self._slots:
                is_installed = await self._transfer(replica, peer)
        except (SnapshotLost, TimeoutError) as error:
            logger.info(
                "%s: no snapshot for replica %d: %s", replica.label, peer, str(error) or "timeout"
            )
        except CorruptEntry as error:
            self._context.engine_loop.make_faulty(replica, str(error))
        finally:
            if not is_installed:
                replica.pins.pop(peer, None)
            # Before the report: the node may want the next snapshot at once.
            self._tasks.pop((replica, peer), None)
        if self._context.is_present(replica):
            replica.node.report_snapshot(peer, ok=is_installed)
            self._context.engine_loop.mark(replica)

    async def _transfer(self, replica: Replica, peer: int) -> bool:
        """Send one snapshot; return whether the receiver needs no further one.

        Raises:
            SnapshotLost: it cannot be sent, for whatever reason.
            TimeoutError: the receiver does not answer.
            CorruptEntry: a row that it needs is damaged.
        """
        broker_id = replica.broker_of(peer)
        if not broker_id or not self._may_send(replica):
            raise SnapshotLost("this replica does not lead, or does not know where it is")
        stream = await self._transport.open_snapshot(broker_id)
        try:
            offer, checkpoint = await self._make(replica, peer)
            await self._send(stream, offer)
            answer = await self._receive(stream)
            if not isinstance(answer, SnapshotAnswer):
                raise SnapshotLost(f"{type(answer).__name__} instead of an answer")
            if not answer.accepted:
                return answer.has_it
            await self._send_rows(stream, replica, answer.from_offset, offer.next_offset)
            await self._send_state(stream, checkpoint.state)
            await self._send(stream, SnapshotEnd())
            done = await self._receive(stream)
            if not isinstance(done, SnapshotInstalled):
                raise SnapshotLost(f"{type(done).__name__} instead of a confirmation")
        finally:
            stream.close()
        self.sent += 1
        logger.info("%s: replica %d has a snapshot up to %s", replica.label, peer, offer.meta)
        return True

    def _may_send(self, replica: Replica) -> bool:
        """Tell whether this replica leads; it may need the receiver before it can serve."""
        return self._context.is_present(replica) and replica.is_leader and replica.applied.index > 0

    async def _make(self, replica: Replica, peer: int) -> tuple[SnapshotOffer, Checkpoint]:
        """Make a durable checkpoint of now, pin what it needs, and describe it."""
        if not self._may_send(replica):
            raise SnapshotLost("this replica no longer leads")
        config, machine = self._context.config, replica.state_machine
        checkpoint, durable = self._replica_table.submit_checkpoint(replica)
        meta = SnapshotMeta(
            checkpoint.applied_index,
            checkpoint.applied_term,
            checkpoint.membership,
            checkpoint.membership_index,
        )
        offer = SnapshotOffer(
            group_id=replica.group_id,
            to=peer,
            sender=replica.spec.replica_id,
            term=replica.node.term,
            meta=meta,
            log_start_offset=machine.log_start_offset,
            next_offset=machine.next_offset,
            state_bytes=len(checkpoint.state),
        )
        replica.pins[peer] = Pin(
            first_index=meta.last_index + 1,
            log_start_offset=offer.log_start_offset,
            until=asyncio.get_running_loop().time() + config.snapshot_pin_ms / 1000,
        )
        await self._replica_table.wait(durable)
        return offer, checkpoint

    async def _send_rows(
        self, stream: SnapshotStream, replica: Replica, offset: int, next_offset: int
    ) -> None:
        storage = self._context.storage
        while offset < next_offset:
            if not self._may_send(replica):
                raise SnapshotLost("this replica no longer leads")
            rows = await self._context.read(
                storage.read_rows, replica.group_id, offset, next_offset, self._part_bytes
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
