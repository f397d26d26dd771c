"""Brokers' engines in one loop, over the in-memory storage and transport, ticked by the test."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import InvalidRequest, NoLeader, NotLeader
from raft_app.core.types import Entry, EntryKind, Membership, Proposal, RaftMember
from raft_app.engine.config import EngineConfig
from raft_app.engine.engine import Engine
from raft_app.statemachine import CommandAnswer, Decision, InconsistentEntry, Join, Propose
from raft_app.storage.protocol import GroupSpec, PeerAddress
from raft_app.storage.workers import StorageThreads
from tests.doubles.storage import MemoryStorage
from tests.doubles.transport import MemoryHub, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Storage

TICKS_MAX = 3_000
PACE_SECONDS = 0.001
"""Between two ticks, so that the storage threads get their turn."""


class ListMachine:
    """A list of texts: `append` texts are batches of one, `add` texts are commands.

    The command `cut N` lets the messages below offset N go.
    """

    def __init__(self, spec: GroupSpec, snapshot: bytes) -> None:
        self.spec = spec
        self.values: list[str] = []
        self.next_offset = 0
        self.log_start_offset = 0
        self._pending: dict[str, tuple[int, int]] = {}
        self._pending_batches = 0
        if snapshot:
            self.restore(snapshot)

    def prepare(self, request: Any, *, now_ms: int, clock_ms: int) -> Decision:
        kind, text = request
        if text == "refused":
            raise InvalidRequest("this text is refused", field="text")
        if text in self.values:
            return CommandAnswer(self.values.index(text))
        if text in self._pending:
            return Join(*self._pending[text])
        if kind == "add":
            return Propose(Proposal(EntryKind.COMMAND, text.encode()), token=(kind, text))
        proposal = Proposal(
            EntryKind.DATA,
            text.encode(),
            base_offset=self.next_offset + self._pending_batches,
            record_count=1,
            append_timestamp=now_ms,
        )
        return Propose(proposal, token=(kind, text))

    def proposed(self, token: Any, index: int, term: int) -> None:
        kind, text = token
        self._pending[text] = (index, term)
        self._pending_batches += kind == "append"

    def abandon_speculation(self) -> None:
        self._pending.clear()
        self._pending_batches = 0

    def apply(self, entry: Entry) -> Any:
        if entry.kind is EntryKind.DATA:
            assert entry.base_offset == self.next_offset
            self.next_offset += 1
        text = entry.data.decode()
        if self._pending.pop(text, None):
            self._pending_batches -= entry.kind is EntryKind.DATA
        if text.startswith("cut "):
            self.log_start_offset = max(self.log_start_offset, int(text[4:]))
        self.values.append(text)
        return len(self.values) - 1

    def snapshot(self) -> bytes:
        return json.dumps([self.values, self.next_offset, self.log_start_offset]).encode()

    def restore(self, snapshot: bytes) -> None:
        try:
            self.values, self.next_offset, self.log_start_offset = json.loads(snapshot)
        except ValueError as error:
            raise InconsistentEntry(str(error)) from error
        self.abandon_speculation()


class EngineCluster:
    """Engines of a few brokers; a broker can be stopped, crashed and started again."""

    def __init__(
        self,
        brokers: int = 3,
        *,
        config: EngineConfig | None = None,
        make_storage: Callable[[int], Storage] = lambda _: MemoryStorage(),
        make_memory: Callable[[], MemoryBudget] = MemoryBudget,
    ) -> None:
        self.make_memory = make_memory
        self.hub = MemoryHub()
        self.config = config or EngineConfig(ticks_missed_max=1_000_000)  # the test ticks
        self.storages = {broker_id: make_storage(broker_id) for broker_id in range(1, brokers + 1)}
        self.engines: dict[int, Engine] = {}
        self._random = random.Random(7)

    async def start(self, broker_id: int) -> Engine:
        storage = self.storages[broker_id]
        await asyncio.to_thread(_open, storage)
        engine = Engine(
            storage=storage,
            transport=MemoryTransport(self.hub, broker_id),
            factory=ListMachine,
            config=self.config,
            randomizer=self._random.randrange,
            workers=StorageThreads(storage, close_thread=storage.close_thread_connection),
            memory=self.make_memory(),
        )
        self.engines[broker_id] = engine
        await engine.start()
        await engine.save_peers(
            PeerAddress(other, f"http://broker-{other}:80", f"broker-{other}:{other}")
            for other in self.storages
        )
        return engine

    async def start_all(self) -> None:
        for broker_id in self.storages:
            await self.start(broker_id)

    async def stop(self, broker_id: int) -> None:
        await self.engines.pop(broker_id).stop()

    async def stop_all(self) -> None:
        for broker_id in list(self.engines):
            await self.stop(broker_id)

    async def create_group(
        self, group_id: int = 1, *, first: int = 1, brokers: Sequence[int] = ()
    ) -> None:
        """Make a group with one replica on each broker; replica ids are broker id + 10 x group."""
        brokers = sorted(brokers or self.storages, key=lambda broker_id: broker_id != first)
        members = tuple(RaftMember(10 * group_id + broker_id, broker_id) for broker_id in brokers)
        for broker_id in reversed(brokers):  # the first campaigns once all others are there
            spec = GroupSpec(group_id, 10 * group_id + broker_id, "logs", group_id - 1)
            await self.engines[broker_id].create_replica(
                spec, Membership(voters=members, version=1), campaign=broker_id == first
            )
        await self.until(lambda: self.leader(group_id) is not None)

    async def join(self, broker_id: int, replica_id: int, group_id: int = 1) -> Replica:
        """Make a replica that joins a group."""
        spec = GroupSpec(group_id, replica_id, "logs", group_id - 1)
        await self.engines[broker_id].join_replica(spec)
        return self.engines[broker_id].replicas[group_id]

    async def change_replicas(
        self, target: Sequence[tuple[int, int]], *, version: int = 2, group_id: int = 1
    ) -> None:
        """Ask whoever leads for other replicas until they are the only ones, as a manager does.

        Args:
            target: (replica id, broker id) of each.
            version: of the placement.
            group_id: whose replicas.
        """
        members = tuple(RaftMember(*one) for one in target)

        def is_done() -> bool:
            leader = self.leader(group_id)
            if leader is None:
                return False
            with suppress(NotLeader, NoLeader):
                leader.change_replicas(group_id, members, version)
            membership = leader.replicas[group_id].node.membership
            return set(membership.members) == set(membership.voters) == set(members)

        await self.until(is_done)

    def leader(self, group_id: int = 1) -> Engine | None:
        """Return the engine whose replica serves in the highest term."""
        leaders = [
            engine
            for engine in self.engines.values()
            if group_id in engine.replicas and engine.replicas[group_id].serves
        ]
        return max(leaders, key=lambda engine: engine.replicas[group_id].node.term, default=None)

    def the_leader(self, group_id: int = 1) -> Engine:
        leader = self.leader(group_id)
        assert leader is not None
        return leader

    def values(self, broker_id: int, group_id: int = 1) -> list[str]:
        machine = self.engines[broker_id].replicas[group_id].state_machine
        assert isinstance(machine, ListMachine)
        return machine.values

    async def until(self, holds: Callable[[], bool]) -> int:
        """Tick all engines until something holds; return the ticks it took."""
        for ticks in range(TICKS_MAX):
            if holds():
                return ticks
            for engine in self.engines.values():
                engine.post_tick()
            await asyncio.sleep(PACE_SECONDS)
        raise AssertionError(f"it did not hold within {TICKS_MAX} ticks")

    async def ticks(self, count: int) -> None:
        """Let some ticks pass."""
        for _ in range(count):
            for engine in self.engines.values():
                engine.post_tick()
            await asyncio.sleep(PACE_SECONDS)

    async def append(self, text: str, group_id: int = 1, *, kind: str = "append") -> int:
        """Append a text at the leader and return its place."""
        place: int = await self.the_leader(group_id).propose(
            group_id, (kind, text), timeout_ms=5_000
        )
        return place


def _open(storage: Storage) -> None:
    """Open a storage in a thread that ends."""
    storage.open()
    storage.close_thread_connection()
