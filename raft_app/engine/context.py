"""What the parts of one running engine share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from http_base import tasks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Executor

    from raft_app.engine.cache import TailCache
    from raft_app.engine.config import EngineConfig
    from raft_app.engine.loop import EngineLoop
    from raft_app.engine.replica import Replica
    from raft_app.engine.replica_table import ReplicaTable
    from raft_app.statemachine import StateMachineFactory
    from raft_app.storage.protocol import Storage
    from raft_app.storage.stream import StorageStream
    from raft_app.transport.protocol import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """Made when an engine starts; used in its loop alone."""

    loop: asyncio.AbstractEventLoop
    config: EngineConfig
    replicas: Mapping[int, Replica]
    """By group id."""
    storage: Storage
    """Read in `readers`; written through `stream`."""
    stream: StorageStream
    transport: Transport
    readers: Executor
    engine_loop: EngineLoop
    replica_table: ReplicaTable
    tails: TailCache
    factory: StateMachineFactory
    fail: Callable[[BaseException], None]
    """Stops the broker for a reason that it cannot live with."""

    def is_present(self, replica: Replica) -> bool:
        """Tell whether a replica is still the one that this broker has under its id, and sound."""
        return self.replicas.get(replica.group_id) is replica and not replica.faulty

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a reading method of storage in a reader thread."""
        return await self.loop.run_in_executor(self.readers, function, *args)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work in the loop; what it does not handle itself stops the broker."""
        return tasks.spawn(name, work, on_failure=self.fail)
