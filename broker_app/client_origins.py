"""From which addresses the new entries of the partitions led here come.

Everybody may register, so that a limit of one client would be one of nobody's: who registers again
and again would fill the tables of consumer groups, cursors and producers for all. So an address has
a limit in each. What a partition knows goes on, and does not count again. It is not a part of the
log: another leader counts from its own start.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded, QueueError, TooManyGroups
from myqueue.contract.rules.group_makers import ADVICE as GROUPS_ADVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_app.partition.limits import BrokerLimits
    from broker_app.partition.statemachine import PartitionState

COUNTED_MAX = 10_000
"""Triples of table, partition and address that are counted; the oldest are forgotten."""
CURSORS_ADVICE = (
    "DELETE /consumers/{id} those that are no longer used, or use a registration again in place of"
    " a new one for each run"
)
PRODUCERS_ADVICE = (
    "use one producer for many messages in place of a new one for each, or wait until the partition"
    " forgets those that send nothing"
)

Name = str | int
"""Of a consumer group, or the id of a consumer or producer."""


class Table(Enum):
    """Tables of a partition in which an address has a limit."""

    GROUPS = "consumer groups"
    CURSORS = "cursors"
    PRODUCERS = "producers"


class ClientOrigins:
    """New names in the tables of partitions, by address.

    Attributes:
        refused: how many were, by table.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = {
            Table.GROUPS: limits.groups_per_address_max,
            Table.CURSORS: limits.cursors_per_address_max,
            Table.PRODUCERS: limits.producers_per_address_max,
        }
        self.refused: Counter[Table] = Counter()
        self._made: dict[tuple[Table, int, str], set[Name]] = {}

    def admit(
        self,
        table: Table,
        state: PartitionState,
        group_id: int,
        *,
        name: Name,
        address_of: Callable[[], str],
    ) -> None:
        """Let a client use an entry of a partition, and count it for its address if it is new.

        Args:
            table: of the entry.
            state: of the partition.
            group_id: the partition's Raft group.
            name: of the entry.
            address_of: tells the client's address, if it is asked; an empty one has no limit, as
                what the cluster does for itself.

        Raises:
            TooManyGroups: the group is new, and as many as the address may make are there.
            Overloaded: the same of a cursor or a producer.
        """
        if _knows(state, table, name):
            return
        address = address_of()
        if not address:
            return
        key, limit = (table, group_id, address), self._limits[table]
        made = self._made.setdefault(key, set())
        if len(made) >= limit and name not in made:
            made.intersection_update([one for one in made if _knows(state, table, one)])
            if len(made) >= limit:
                self.refused[table] += 1
                raise _full(table, limit, name, address)
        made.add(name)
        if len(self._made) > COUNTED_MAX:
            del self._made[next(iter(self._made))]


def _knows(state: PartitionState, table: Table, name: Name) -> bool:
    if isinstance(name, str):
        return state.knows_group(name)
    return state.knows_cursor(name) if table is Table.CURSORS else state.knows_producer(name)


def _full(table: Table, limit: int, name: Name, address: str) -> QueueError:
    text = (
        f"clients at {address} made {limit} {table.value} of the partition, the limit for one"
        " address: no room for"
    )
    if table is Table.GROUPS:
        text = f"{text} '{name}'; {GROUPS_ADVICE}"
        return TooManyGroups(text, limit=limit, address=address)
    client, advice = (
        ("consumer", CURSORS_ADVICE) if table is Table.CURSORS else ("producer", PRODUCERS_ADVICE)
    )
    return Overloaded(
        f"{text} {client} {name}; {advice}",
        retry_after_ms=retry_after.PARTITION_MS,
        limit=limit,
        address=address,
    )
