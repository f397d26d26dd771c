"""The local replicas of a broker: made, opened, stored from time to time, dropped."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from http_base import tasks
from myqueue.contract.errors import StalePlacement
from raft_app.core.bootstrap import bootstrap_state, joining_state
from raft_app.core.rawnode import RawNode
from raft_app.engine.context import is_present
from raft_app.engine.local_replicas import Event
from raft_app.statemachine import InconsistentEntry
from raft_app.storage.protocol import Checkpoint, CreateGroup, DeleteGroup, SetFaulty

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import InitialState, Membership
    from raft_app.engine.config import EngineConfig
    from raft_app.engine.local_replicas import LocalReplicas
    from raft_app.engine.replica import CheckpointMark, Replica
    from raft_app.statemachine import StateMachine, StateMachineFactory
    from raft_app.storage.protocol import GroupSpec, Operation, StoredGroup
    from raft_app.storage.stream import StorageStream

logger = logging.getLogger(__name__)


class ReplicaTable:
    """Makes and drops the replicas of an engine."""

    def __init__(
        self,
        *,
        replicas: LocalReplicas,
        stream: StorageStream,
        factory: StateMachineFactory,
        config: EngineConfig,
        randomizer: Callable[[int, int], int],
        failure: asyncio.Future[None],
        make_replica: Callable[[GroupSpec, RawNode, StateMachine, Checkpoint], Replica],
        recent_bytes_max: int,
    ) -> None:
        """Manage `replicas`, which the engine reads.

        Args:
            replicas: changed here alone.
            stream: everything is stored through it.
            factory: makes the state machine of each replica.
            config: limits.
            randomizer: given to the nodes.
            failure: done when the broker failed; ends what waits for storage.
            make_replica: puts one together, which takes part from the next turn on.
            recent_bytes_max: applied entries that all logs together keep in memory.
        """
        self._applied = replicas.watch(Event.APPLIED)
        """Those that may need a checkpoint; they are taken out here."""
        self._make_replica = make_replica
        self._recent_bytes_max = recent_bytes_max
        self._recent_bytes = config.raft.max_recent_bytes
        """Applied entries that each log keeps in memory now."""
        self._replicas = replicas
        self._stream = stream
        self.make_state_machine = factory
        """Makes the state machine of a replica, from its spec and a stored state."""
        self._config = config
        self._randomizer = randomizer
        self._failure = failure
        self._making: dict[int, tuple[GroupSpec, asyncio.Task[Replica]]] = {}
        """By group id: new replicas whose first transaction is under way."""
        self._made: set[tuple[int, int]] = set()
        """(Group id, replica id) of all that were made since the start."""

    def open(self, stored: StoredGroup) -> Replica:
        """Start a replica from what was stored; one that is in doubt starts as faulty."""
        faulty = stored.faulty
        try:
            state_machine = self.make_state_machine(stored.spec, stored.checkpoint.state)
        except InconsistentEntry as error:
            faulty = faulty or f"checkpoint: {error}"
            state_machine = self.make_state_machine(stored.spec, b"")
        node = self._node(replace(stored.initial, installing=stored.installing))
        replica = self._make_replica(stored.spec, node, state_machine, stored.checkpoint)
        replica.install_offset = stored.install_offset if stored.installing else None
        replica.faulty = faulty
        if faulty:
            logger.critical("%s is faulty: %s", replica.label, faulty)
            self._stream.submit(replica.group_id, SetFaulty(replica.group_id, faulty))
            self._stream.flush()
        self._add(replica)
        return replica

    async def create(
        self, spec: GroupSpec, membership: Membership, *, campaign: bool, used: frozenset[int]
    ) -> Replica:
        """Make a replica, durable when this returns; again is no error.

        It is made to its end also when the caller is cancelled: what is stored takes part.

        Args:
            spec: what it is.
            membership: the first list of a new group, the same on every replica. Empty for a
                replica that joins: it learns its membership from the leader.
            campaign: True on the replica that should lead first.
            used: replica ids that this directory ever had of the group.

        Raises:
            StalePlacement: this directory had that replica before, or has another of the group.
        """
        present = self._present(spec)
        if present is not None:
            return present
        if spec.group_id not in self._making:
            if spec.replica_id in used or (spec.group_id, spec.replica_id) in self._made:
                raise StalePlacement(
                    f"replica {spec.replica_id} was removed from this broker before"
                )
            making = self._make(spec, membership, campaign=campaign)
            task = tasks.spawn(f"making {spec}", making)
            self._making[spec.group_id] = (spec, task)
        return await asyncio.shield(self._making[spec.group_id][1])

    async def _make(self, spec: GroupSpec, membership: Membership, *, campaign: bool) -> Replica:
        try:
            if membership.members:
                initial = bootstrap_state(spec.replica_id, membership)
            else:
                initial = joining_state(spec.replica_id)
            checkpoint = Checkpoint(0, 0, membership, 0, b"")
            self._made.add((spec.group_id, spec.replica_id))
            await self.store(
                spec.group_id, CreateGroup(spec, initial.hard_state, initial.entries, checkpoint)
            )
        finally:
            del self._making[spec.group_id]
        node = self._node(initial)
        replica = self._make_replica(spec, node, self.make_state_machine(spec, b""), checkpoint)
        replica.log_start.told = 0  # There is no compaction that an earlier process began.
        self._add(replica)
        if campaign:
            node.campaign()
        return replica

    def _present(self, spec: GroupSpec) -> Replica | None:
        """Return the replica that is here already; one that is being stored counts for refusals.

        Raises:
            StalePlacement: the group is here, or is being stored, with another replica id.
        """
        present = self._replicas.get(spec.group_id)
        here, _ = self._making.get(spec.group_id, (spec, None))
        if present is not None:
            here = present.spec
        if here.replica_id != spec.replica_id:
            raise StalePlacement(f"group {spec.group_id} is here as {here}")
        return present

    async def find(self, group_id: int) -> Replica | None:
        """Return the replica of a group, once it is made; None when there is none."""
        if group_id in self._making:
            await asyncio.wait((self._making[group_id][1],))
        return self._replicas.get(group_id)

    async def delete(self, replica: Replica) -> None:
        """Drop a replica with everything it stored; durable when this returns."""
        if replica.group_id not in self._replicas:
            return
        self.let_go(replica)
        await self.store(replica.group_id, DeleteGroup(replica.group_id))

    def let_go(self, replica: Replica) -> None:
        """Have a replica no longer; what it stored stays."""
        self._replicas.drop(replica)
        replica.forget_memory()
        self._share_recent()
        replica.fail_waiters(f"{replica.label} is deleted")

    def store_checkpoints(self) -> None:
        """Store the state of the replicas that applied most since their last checkpoint.

        As many as the limits of one request allow; the others have their turn at the next one.
        Nothing is done for those that applied nothing.
        """
        config = self._config
        due = [
            replica
            for replica in self._applied.values()
            if is_present(replica, self._replicas)
            and replica.checkpoint_due(
                entries=config.checkpoint_entries, min_bytes=config.checkpoint_min_bytes
            )
        ]
        due.sort(key=lambda one: one.applied.handed_over.index - one.applied.index)
        self._applied.clear()
        room_bytes = config.checkpoint_bytes_per_request
        for number, replica in enumerate(due):
            if number >= config.checkpoints_per_request or room_bytes <= 0:
                self._applied[replica.group_id] = replica
                continue
            checkpoint, _ = self.submit_checkpoint(replica)
            room_bytes -= len(checkpoint.state)
        self._stream.flush()

    def store_all_checkpoints(self) -> None:
        """Store the state of every replica that applied anything since its last checkpoint."""
        for replica in self._replicas.values():
            if replica.checkpoint_due(entries=1, min_bytes=1):
                self.submit_checkpoint(replica)

    def submit_checkpoint(self, replica: Replica) -> tuple[Checkpoint, asyncio.Future[None]]:
        """Queue a checkpoint of a replica as applied now; not while a snapshot is put in place.

        Returns:
            The checkpoint, and a future that is done when it is durable.
        """
        operation = replica.checkpoint()
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        on_durable = partial(self._checkpoint_stored, replica, replica.applied.handed_over, durable)
        self._stream.submit(replica.group_id, operation, on_durable)
        return operation.checkpoint, durable

    def _checkpoint_stored(
        self, replica: Replica, mark: CheckpointMark, durable: asyncio.Future[None]
    ) -> None:
        replica.applied.stored(mark)
        self._replicas.happened(Event.STORED, replica)
        _resolve(durable)

    async def store(self, group_id: int, operation: Operation) -> None:
        """Store one operation, behind all earlier ones of the group; durable when this returns.

        Raises:
            Exception: what made the broker fail.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream.submit(group_id, operation, partial(_resolve, durable))
        await self.wait(durable)

    async def wait(self, durable: asyncio.Future[None]) -> None:
        """Return when something that was queued is durable.

        Raises:
            Exception: what made the broker fail.
        """
        self._stream.flush()
        await asyncio.wait((durable, self._failure), return_when=asyncio.FIRST_COMPLETED)
        if not durable.done():
            durable.cancel()
            self._failure.result()

    def _add(self, replica: Replica) -> None:
        self._replicas.add(replica)
        replica.keep_recent(self._recent_bytes)
        self._share_recent()

    def _share_recent(self) -> None:
        """Let all logs keep the same of what is applied; many of them less than each would.

        A share changes when the number of replicas doubles or halves, so that not each new replica
        is told to all others.
        """
        shares = 1 << max(0, len(self._replicas) - 1).bit_length()
        each = min(self._config.raft.max_recent_bytes, self._recent_bytes_max // shares)
        if each != self._recent_bytes:
            self._recent_bytes = each
            for replica in self._replicas.values():
                replica.keep_recent(each)

    def _node(self, initial: InitialState) -> RawNode:
        return RawNode(self._config.raft, initial, randomizer=self._randomizer)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
