"""A replica that goes on alone, since a person has accepted what its partition lost.

Where too few replicas of a partition are left that have all they acknowledged, nobody may lead it:
which entries were committed is not known any more. One of them can be made the first of a new group
all the same, with whatever it has. It gets a new replica id and a term above all that were, so that
nothing that the others still say counts, and in the place of the messages that are gone batches
that nobody can read, so that no offset is given twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from myqueue.contract.errors import StalePlacement
from raft_app.core.types import NO_REPLICA, Entry, EntryKind
from raft_app.storage.protocol import AdoptGroup, SetFaulty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.types import Membership
    from raft_app.engine.context import EngineContext
    from raft_app.engine.replica import Replica
    from raft_app.engine.replica_table import ReplicaTable
    from raft_app.storage.protocol import Examined, GroupSpec, StoredBatch


class Adoption:
    """Examines the replicas of an engine, and lets one go on alone."""

    def __init__(self, context: EngineContext, replica_table: ReplicaTable) -> None:
        """Work on the replicas of `replica_table`."""
        self._context = context
        self._replica_table = replica_table
        self._lock = asyncio.Lock()

    async def examine(self, group_id: int) -> Examined:
        """Return what is stored of a replica, whatever made it faulty.

        Raises:
            StalePlacement: it cannot be used.
        """
        examined: Examined | None = await self._context.read(
            self._context.storage.examine, group_id
        )
        why = "there is none" if examined is None else examined.stored.faulty
        if examined is not None and examined.stored.installing:
            why = why or "a snapshot is half in place"
        if examined is None or why:
            raise StalePlacement(f"what is stored of group {group_id} cannot be used: {why}")
        return examined

    async def adopt(
        self,
        old: Replica,
        spec: GroupSpec,
        membership: Membership,
        filler: Sequence[StoredBatch],
        *,
        above_term: int,
    ) -> Replica:
        """Let a replica here go on alone under the id of `spec`; stored when this returns.

        Args:
            old: what goes on; it takes no part under its old id any more.
            spec: what it is from now on.
            membership: itself alone.
            filler: takes the place of lost messages, right behind the last one that is here.
            above_term: the highest term that any replica of the group is known to have had.

        Raises:
            StalePlacement: it is gone, what it stored cannot be used, the new id was used here
                before, or the filler does not fit.
        """
        async with self._lock:
            await self._check(old, spec)
            self._context.engine_loop.make_faulty(
                old, f"its partition goes on without it, as replica {spec.replica_id}"
            )
            await self._replica_table.store(spec.group_id, SetFaulty(spec.group_id, old.faulty))
            examined = await self.examine(spec.group_id)
            if filler and filler[0].base_offset != examined.end_offset:
                raise StalePlacement(f"the messages of {old.label} end at {examined.end_offset}")
            await self._replica_table.store(
                spec.group_id,
                _adoption(spec, (membership, filler), examined, above_term=above_term),
            )
            return await self._take_over(old)

    async def _check(self, old: Replica, spec: GroupSpec) -> None:
        used = await self._context.read(self._context.storage.used_replica_ids, spec.group_id)
        if self._context.replicas.get(spec.group_id) is not old or spec.replica_id in used:
            raise StalePlacement(f"{old.label} cannot go on here as replica {spec.replica_id}")

    async def _take_over(self, old: Replica) -> Replica:
        """Go on from what is stored in place of a replica."""
        adopted = (await self.examine(old.group_id)).stored
        if self._context.replicas.get(old.group_id) is not old:
            raise StalePlacement(f"{old.label} was dropped meanwhile")
        self._context.engine_loop.forget(old)
        self._replica_table.let_go(old)
        replica = self._replica_table.open(adopted)
        replica.node.campaign()
        self._context.engine_loop.note_replaced(replica)
        return replica


def _adoption(
    spec: GroupSpec,
    rest: tuple[Membership, Sequence[StoredBatch]],
    examined: Examined,
    *,
    above_term: int,
) -> AdoptGroup:
    """Return what lets the log go on: the new membership, then the filler, in a new term."""
    membership, filler = rest
    initial = examined.stored.initial
    term = max(above_term, initial.hard_state.term) + 1
    first_index = initial.last_index + 1
    entries = [Entry(first_index, term, EntryKind.MEMBERSHIP, membership.encode())]
    for index, batch in enumerate(filler, first_index + 1):
        place = batch.base_offset, batch.record_count, batch.append_timestamp
        entries.append(Entry(index, term, EntryKind.DATA, batch.data, *place))
    state = replace(initial.hard_state, term=term, vote=NO_REPLICA)
    return AdoptGroup(spec, state, tuple(entries))
