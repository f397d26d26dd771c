"""Requests to the groups of one broker: writes, confirmed reads, stored messages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from myqueue.errors import CommitTimeout, NotLeader
from raft_app.statemachine import Answer
from raft_app.storage.storage import CorruptEntry

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from raft_app.engine.context import EngineContext
    from raft_app.engine.group import Group
    from raft_app.storage.storage import PeerAddress, StoredBatch


def wall_clock_ms() -> int:
    """Return the time of day, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Requests:
    """Waits for what groups answer; lives in the engine's loop."""

    def __init__(
        self,
        context: EngineContext,
        peers: Mapping[int, PeerAddress],
        wall_ms: Callable[[], int],
    ) -> None:
        """Serve the groups of `context`.

        Args:
            context: of the engine.
            peers: where other brokers are, by broker id; named in refusals.
            wall_ms: returns the time of day, milliseconds since 1970.
        """
        self._context = context
        self._wall_ms = wall_ms
        self._peers = peers

    def clock_ms(self) -> int:
        """Return the monotonic clock that proposals carry, in milliseconds."""
        return int(self._context.loop.time() * 1000)

    async def propose(self, group: Group, request: Any, *, timeout_ms: int) -> Any:
        """Replicate a request; see `raft_app.engine.engine.Engine.propose`."""
        try:
            admitted = group.propose(request, now_ms=self._wall_ms(), clock_ms=self.clock_ms())
            if isinstance(admitted, Answer):
                return admitted.result
            self._context.turns.mark(group)
            return await self._within(admitted, timeout_ms, group)
        except NotLeader as error:
            raise self.with_address(error) from error

    async def read_barrier(self, group: Group, *, timeout_ms: int) -> None:
        """Confirm that the applied state is new; see `Engine.read_barrier`."""
        try:
            future = group.ask_read()
            self._context.turns.mark(group)
            await self._within(future, timeout_ms, group)
        except NotLeader as error:
            raise self.with_address(error) from error

    async def read_batches(
        self, group: Group, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Read from memory or disk; see `raft_app.engine.engine.Engine.read_batches`."""
        group_id = group.group_id
        found = self._context.tails.read(group_id, offset, high_watermark, max_bytes)
        if found is not None:
            return found
        try:
            batches: list[StoredBatch] = await self._context.read(
                self._context.storage.read_batches, group_id, offset, high_watermark, max_bytes
            )
        except CorruptEntry as error:
            if self._context.is_present(group):
                self._context.turns.make_faulty(group, str(error))
            raise group.not_leader() from error
        return batches

    async def _within(self, future: asyncio.Future[Any], timeout_ms: int, group: Group) -> Any:
        timer = self._context.loop.call_later(timeout_ms / 1000, _expire, future, timeout_ms, group)
        try:
            return await future
        finally:
            timer.cancel()

    def with_address(self, error: NotLeader) -> NotLeader:
        """Return the error with the leader's address, where this broker knows it."""
        leader = error.details.get("leader") or {}
        peer = self._peers.get(leader.get("broker_id", 0))
        if peer is None:
            return error
        place = {"broker_id": peer.broker_id, "address": peer.http_address}
        return NotLeader(error.message, leader=place)


def _expire(future: asyncio.Future[Any], timeout_ms: int, group: Group) -> None:
    if not future.done():
        future.set_exception(
            CommitTimeout(f"{group.label}: no quorum confirmed it within {timeout_ms} ms")
        )
