"""From which addresses the consumer groups of the partitions led here were made.

Everybody may register, so that the limit of one client's groups alone would be one of nobody's. An
address has a limit too. It is not a part of the log: another leader counts from its own start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.errors import TooManyGroups
from myqueue.contract.rules.group_makers import ADVICE

if TYPE_CHECKING:
    from broker_app.partition.statemachine import PartitionState

COUNTED_MAX = 10_000
"""Pairs of partition and address that are counted; the oldest are forgotten."""


class GroupOrigins:
    """Names of groups by partition and address."""

    def __init__(self, groups_per_address_max: int) -> None:
        self._limit = groups_per_address_max
        self._made: dict[tuple[int, str], set[str]] = {}

    def admit(self, state: PartitionState, group_id: int, name: str, address: str) -> None:
        """Let clients at an address use a group of a partition, and count it if it is new.

        Args:
            state: of the partition.
            group_id: the partition's Raft group.
            name: of the consumer group.
            address: of the clients; empty when it is not known, which has no limit.

        Raises:
            TooManyGroups: the group is new, and as many as they may make are there.
        """
        if not address or state.knows_group(name):
            return
        key = (group_id, address)
        made = self._made.setdefault(key, set())
        if len(made) >= self._limit and name not in made:
            made.intersection_update([one for one in made if state.knows_group(one)])
            if len(made) >= self._limit:
                raise TooManyGroups(
                    f"clients at {address} made {len(made)} consumer groups of the partition, the"
                    f" limit for one address: no room for '{name}'; {ADVICE}",
                    limit=self._limit,
                    address=address,
                )
        made.add(name)
        if len(self._made) > COUNTED_MAX:
            del self._made[next(iter(self._made))]
