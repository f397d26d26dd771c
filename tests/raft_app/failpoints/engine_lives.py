"""What brokers of one group go through together: appends, elections, a replica that joins."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from raft_app.engine.config import EngineConfig
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.engine.engine_harness import EngineCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BROKERS = (1, 2, 3)
NEW = 4
"""Broker of the replica that joins, by a snapshot."""
APPENDS = 40
MORE = 6
"""Appends after it has joined."""
CONFIG = EngineConfig(
    ticks_missed_max=1_000_000,
    log_tail_entries=5,
    checkpoint_entries=10,
    log_keep_bytes=1,
    snapshot_part_bytes=400,
)


def texts(done: int, end: int) -> list[str]:
    return [f"text {number}" for number in range(done, end)]


class Group:
    """Three replicas acknowledge appends and change leaders; a fourth is filled by a snapshot."""

    samples = 2
    points: Sequence[str] = (
        *("engine.durable", "engine.replying", "engine.sending"),
        *("snapshot.rows-stored", "snapshot.stored"),
    )

    def prepare(self, place: Path) -> None:
        first = place / "1"
        storage = SqliteStorage(first)
        storage.open()
        storage.close()
        for broker_id in (2, 3, NEW):
            shutil.copytree(first, place / str(broker_id))

    def live(self, place: Path, _done: int, tell: Callable[[str], None]) -> None:
        asyncio.run(self._live(place, tell))

    def check(self, place: Path, done: int, told: list[str]) -> int:
        return asyncio.run(self._check(place, done, told))

    async def _started(self, place: Path) -> EngineCluster:
        cluster = EngineCluster(
            NEW, config=CONFIG, make_storage=lambda one: SqliteStorage(place / str(one))
        )
        await cluster.start_all()
        await cluster.create_group(brokers=BROKERS)
        return cluster

    async def _live(self, place: Path, tell: Callable[[str], None]) -> None:
        """Go on behind what is there: an entry that nobody acknowledged may be gone or not.

        That depends on who is elected, which may have been another in the copy that was checked.
        """
        cluster = await self._started(place)
        await cluster.until(lambda: cluster.leader() is not None)
        done = len(cluster.values(cluster.the_leader().broker_id))
        for text in texts(done, APPENDS):
            await cluster.append(text)
            tell(text)
        await self._hand_over(cluster)
        await self._compact(cluster)
        await cluster.join(NEW, 14)
        await cluster.change_replicas([(11, 1), (12, 2), (13, 3), (14, NEW)])
        for text in texts(max(done, APPENDS), APPENDS + MORE):
            await cluster.append(text)
            tell(text)
        await cluster.stop_all()

    async def _hand_over(self, cluster: EngineCluster) -> None:
        leader = cluster.the_leader()
        await leader.transfer_leadership(1, leader.broker_id % 3 + 1, timeout_ms=5_000)
        await cluster.until(lambda: cluster.leader() is not None)

    async def _compact(self, cluster: EngineCluster) -> None:
        def is_done() -> bool:
            for engine in cluster.engines.values():
                engine.request_checkpoints()
            return cluster.the_leader().replicas[1].node.first_index > 10

        await cluster.until(is_done)

    async def _check(self, place: Path, done: int, told: list[str]) -> int:
        """All replicas agree on the acknowledged texts, and on one more at most.

        Args:
            place: of the brokers' folders.
            done: how many there are if this is led as the copy was that was checked before.
            told: what was acknowledged.
        """
        cluster = await self._started(place)
        await cluster.append("last")
        expected = cluster.values(cluster.the_leader().broker_id)
        holders = [one for one, engine in cluster.engines.items() if 1 in engine.replicas]
        joined = {
            member.broker_id for member in cluster.the_leader().replicas[1].node.membership.members
        }
        for one in joined.intersection(holders):
            await cluster.until(lambda one=one: cluster.values(one) == expected)
        found = expected[: expected.index("last")]
        assert found == texts(0, len(found))
        assert set(told) <= set(found)
        assert len(found) <= done + 1
        await cluster.stop_all()
        return len(found)
