"""A simulated network: it drops, delays, duplicates, reorders and is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.plan import TICK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from random import Random

    from tests.raft_app.core.simulation.plan import Plan

LATE_COPY_DELAY_MAX = 60 * TICK
"""Longest time between the arrival of an RPC and that of its copy, in units."""


class Network:
    """Decides when, how often and whether an RPC arrives.

    Attributes:
        plan: rates; replaced when the network gets better or worse.
        loss: probability of a drop just now.
        delay: longest delay just now, in units.
    """

    def __init__(self, plan: Plan, random: Random, replica_ids: Collection[int]) -> None:
        self._random = random
        self._replica_ids = replica_ids
        self._cuts: dict[int, frozenset[tuple[int, int]]] = {}
        self._blocked: frozenset[tuple[int, int]] = frozenset()
        self._cut_count = 0
        self._last_arrival: dict[tuple[int, int], int] = {}
        self.reset(plan)

    def reset(self, plan: Plan) -> None:
        """Behave as `plan` says from now on."""
        self.plan = plan
        self.loss = plan.loss
        self.delay = plan.network_delay

    def arrivals(self, sender: int, to: int, now: int) -> Iterator[int]:
        """Yield when an RPC that is sent now arrives, and then when a copy of it does."""
        if (sender, to) in self._blocked:
            return
        random = self._random.random
        if self.loss and random() < self.loss:
            return
        # The cube makes most delays short and a few long.
        arrival = now + 1 + int(self.delay * random() ** 3)
        if self.plan.in_order:
            arrival = max(arrival, self._last_arrival.get((sender, to), 0) + 1)
            self._last_arrival[sender, to] = arrival
        yield arrival
        if self.plan.duplication and random() < self.plan.duplication:
            # Some copies come so late that the group has changed meanwhile.
            yield arrival + 1 + int(LATE_COPY_DELAY_MAX * random() ** 4)

    def ending(self, sender: int, to: int, now: int) -> int:
        """Return how long it takes until `to` notices that the connection from `sender` ended.

        Where links are in order the end comes after all that was sent before it.
        """
        last_arrival = self._last_arrival.get((sender, to), 0) if self.plan.in_order else 0
        return max(last_arrival - now, 0) + 1 + int(self.delay * self._random.random() ** 3)

    def is_open(self, sender: int, to: int) -> bool:
        """Tell whether the link works just now."""
        return (sender, to) not in self._blocked

    def passes(self, sender: int, to: int) -> bool:
        """Tell whether what was sent over a link may arrive now."""
        return self.plan.cut_keeps_sent or (sender, to) not in self._blocked

    def cut(self, links: Iterable[tuple[int, int]]) -> int:
        """Cut (sender, receiver) links; return the number that `mend` takes."""
        self._cut_count += 1
        self._cuts[self._cut_count] = frozenset(links)
        self._blocked = frozenset().union(*self._cuts.values())
        return self._cut_count

    def mend(self, number: int) -> None:
        """Take one cut back."""
        self._cuts.pop(number, None)
        self._blocked = frozenset().union(*self._cuts.values())

    def mend_all(self) -> None:
        """Take all cuts back."""
        self._cuts.clear()
        self._blocked = frozenset()

    def is_cut_off(self, replica_id: int) -> bool:
        """Tell whether no link of the replica works in either direction."""
        return len(self._replica_ids) > 1 and all(
            (replica_id, other) in self._blocked and (other, replica_id) in self._blocked
            for other in self._replica_ids
            if other != replica_id
        )
