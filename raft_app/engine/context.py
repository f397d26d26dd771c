"""What the work in the background of one running engine shares: snapshots and the scrub."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from http_base import tasks
from myqueue.contract.errors import NoLeader

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Executor

    from raft_app.engine.config import EngineConfig
    from raft_app.engine.loop import EngineLoop
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Storage


def is_present(replica: Replica, replicas: Mapping[int, Replica]) -> bool:
    """Tell whether a replica is still the one that a broker has under its id, and sound.

    Args:
        replica: that was there before.
        replicas: of the broker, by group id.
    """
    return replicas.get(replica.group_id) is replica and not replica.faulty


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """Made when an engine starts; used in its loop alone."""

    config: EngineConfig
    replicas: Mapping[int, Replica]
    """By group id."""
    storage: Storage
    """Read in `readers`."""
    readers: Executor
    engine_loop: EngineLoop
    fail: Callable[[BaseException], None]
    """Stops the broker for a reason that it cannot live with."""

    def is_present(self, replica: Replica) -> bool:
        """Tell whether a replica is still the one that this broker has under its id, and sound."""
        return is_present(replica, self.replicas)

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a reading method of storage in a reader thread.

        Raises:
            NoLeader: the engine has stopped meanwhile.
        """
        try:
            reading = asyncio.get_running_loop().run_in_executor(self.readers, function, *args)
        except RuntimeError as error:  # says the executor once it is shut down
            raise NoLeader("the broker stops") from error
        return await reading

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work in the loop; what it does not handle itself stops the broker."""
        return tasks.spawn(name, work, on_failure=self.fail)
