"""Looks at the cluster every few seconds and keeps what it saw: facts, problems, rates.

Each manager looks by itself, so that any of them shows the same. A broker that does not answer
within `ASK_LIMIT_S` is shown without figures, and holds nothing else up.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.conf import settings

from http_base.cluster import BrokerStanding
from manager_app.brokers.client import BrokerCall
from manager_app.health.facts import (
    BrokerFacts,
    ClusterFacts,
    GroupFacts,
    stored_ends,
    stored_facts,
)
from manager_app.health.histories import MINUTE_S, STEP_S, Histories, PartitionRates
from manager_app.health.problems import problems_of
from manager_app.health.rates import Flow, counts_between, flows_between, merged, quantile
from manager_app.models import BrokerState

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from manager_app.brokers.client import BrokerContact
    from manager_app.database import DatabaseThreads
    from manager_app.groups.standings import StandingsCopy
    from manager_app.health.problems import Problem
    from manager_app.last_seen import LastSeen
    from manager_app.metadata import MetadataCopy

ASK_LIMIT_S = 2.0
"""For the answers of all brokers, asked at once."""
BACK_POINTS = int(300 // STEP_S)
"""How many steps back a group's lag is compared with: five minutes."""
FIGURES = ("messages_in", "messages_out", "bytes_in", "bytes_out")
"""Of a flow: histories are `(kind, name, figure)` with kind `cluster`, `topic` or `broker`."""


@dataclass(frozen=True, slots=True)
class Told:
    """A broker's last answer."""

    standing: BrokerStanding
    at_s: float
    """Monotonic time."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a manager looks."""

    metadata: MetadataCopy
    brokers: BrokerContact
    standings: StandingsCopy
    database: DatabaseThreads
    heartbeats: LastSeen[int]
    """Of brokers."""
    suspect_after_s: float
    replace_after_s: float
    monotonic_s: Callable[[], float]


class Watch:
    """What this manager saw last; `look` belongs to its loop, any thread may read the rest."""

    def __init__(self, sources: Sources) -> None:
        """Know nothing yet.

        Args:
            sources: where to look.
        """
        self.sources = sources
        self.histories = Histories()
        self.partition_rates = PartitionRates()
        self.told: dict[int, Told] = {}
        """The last answer of each broker."""
        self.flows: dict[str, Flow] = {}
        """What goes through each topic now."""
        self.facts = ClusterFacts()
        self.problems: list[Problem] = []
        """The worst first, each with its age."""
        self.looked_s: float | None = None
        """Monotonic time of the last look; None before the first."""
        self._since: dict[str, float] = {}
        self._epoch = 0
        self._lease_changed_s: float | None = None

    async def look(self) -> None:
        """Ask the brokers and the database, and keep what they say."""
        sources = self.sources
        now_s = sources.monotonic_s()
        answers = await self._ask()
        self._note_answers(answers, now_s)
        suspects = sources.heartbeats.silent(now_s, sources.suspect_after_s)
        stored = await sources.database.run(stored_facts, suspects)
        if self.partition_rates.is_due(now_s):
            self.partition_rates.put(await sources.database.run(stored_ends), now_s)
        self._note_lease(now_s)
        self.facts = ClusterFacts(
            brokers=tuple(self._broker(one, now_s) for one in stored.brokers),
            version=settings.VERSION,
            topics=stored.topics,
            partitions=stored.partitions,
            leaderless=stored.leaderless,
            under_replicated=stored.under_replicated,
            lost=stored.lost,
            groups=self._groups(now_s),
            dead_letters=stored.dead_letters,
            primary_address=sources.metadata.current.primary_address,
            epoch=self._epoch,
            lease_age_s=None if self._lease_changed_s is None else now_s - self._lease_changed_s,
            replace_after_s=sources.replace_after_s,
        )
        self._judge(now_s)
        self.looked_s = now_s

    async def _ask(self) -> dict[int, BrokerStanding | None]:
        ids = [
            one.broker_id
            for one in self.sources.metadata.current.brokers.values()
            if one.state not in (BrokerState.NEW, BrokerState.REPLACED)
        ]
        ask, call = self.sources.brokers.ask, BrokerCall("GET", "/standing")
        answers = await asyncio.gather(
            *(
                ask(one, call, BrokerStanding, timeout_s=ASK_LIMIT_S, log_level=logging.DEBUG)
                for one in ids
            )
        )
        return dict(zip(ids, answers, strict=True))

    def _note_answers(self, answers: dict[int, BrokerStanding | None], now_s: float) -> None:
        """Keep what brokers counted since the last look."""
        flows: dict[str, Flow] = {}
        times: dict[tuple[float, ...], list[list[int]]] = {}
        figures: dict[Hashable, float | None] = {}
        is_first = True
        for broker_id, after in answers.items():
            before = self.told.get(broker_id)
            if after is None:
                continue
            if before is not None and now_s > before.at_s:
                is_first = False
                figures |= _work(broker_id, before.standing, after)
                own = flows_between(before.standing, after, now_s - before.at_s)
                for topic, flow in own.items():
                    flows[topic] = flows.get(topic, Flow()) + flow
                figures |= _figures("broker", broker_id, sum(own.values(), Flow()))
                counts = counts_between(before.standing.produce_counts, after.produce_counts)
                times.setdefault(tuple(after.produce_bounds_s), []).append(counts)
            self.told[broker_id] = Told(after, now_s)
        for broker_id in self.told.keys() - answers.keys():
            del self.told[broker_id]
        if not is_first:
            self.flows = flows
            figures |= _figures("cluster", "", sum(flows.values(), Flow()))
            for topic, flow in flows.items():
                figures |= _figures("topic", topic, flow)
            bounds, counts = merged(times)
            figures["cluster", "", "latency_p50"] = quantile(bounds, counts, 0.5)
            figures["cluster", "", "latency_p99"] = quantile(bounds, counts, 0.99)
        self.histories.put(figures, now_s)

    def _broker(self, stored: BrokerFacts, now_s: float) -> BrokerFacts:
        """Return a broker as the database and itself tell of it."""
        broker_id = stored.broker_id
        told = self.told.get(broker_id)
        heard = [
            at_s
            for at_s in (
                self.sources.heartbeats.last_seen_s(broker_id),
                None if told is None else told.at_s,
            )
            if at_s is not None
        ]
        silent_s = None if not heard else max(0.0, now_s - max(heard))
        if told is None:
            return replace(stored, silent_s=silent_s)
        standing = told.standing
        return replace(
            stored,
            silent_s=silent_s,
            disk_free_bytes=standing.disk_free_bytes,
            disk_reserve_bytes=standing.disk_reserve_bytes,
            stored_bytes=standing.stored_bytes,
            disk_full=standing.disk_full,
            disk_slow=standing.disk_slow,
            ticks_late_share=self._of_last_minute(broker_id, "late", now_s),
            sync_p50_s=self._of_last_minute(broker_id, "sync_p50", now_s),
            sync_p99_s=self._of_last_minute(broker_id, "sync_p99", now_s),
            version=standing.version,
            uptime_s=standing.uptime_s,
            connections=standing.connections,
            long_polls=standing.long_polls,
            answers=told.at_s == now_s,
            problems=tuple(standing.problems),
        )

    def _of_last_minute(self, broker_id: int, figure: str, now_s: float) -> float | None:
        """Return the mean of a broker's figure in the last minute."""
        points = int(MINUTE_S // STEP_S)
        values = self.histories.hour(("broker", broker_id, figure), now_s + STEP_S, points=points)
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    def _groups(self, now_s: float) -> tuple[GroupFacts, ...]:
        """Return where groups are, and keep their lags."""
        overview, found = self.sources.standings.latest, []
        figures: dict[Hashable, float | None] = {}
        lag = 0.0
        for name in sorted(overview.by_group):
            total = overview.total(name)
            if total is None:
                continue
            figures["group", name, "lag"] = float(total.lag)
            age_s = None if total.age_ms is None else total.age_ms / 1000
            figures["group", name, "age"] = age_s
            lag += total.lag
            before = self.histories.hour(("group", name, "lag"), now_s, points=BACK_POINTS)
            found.append(
                GroupFacts(
                    name=name,
                    is_workers=total.is_workers,
                    lag=total.lag,
                    lag_before=before[0],
                    age_s=age_s,
                    dead=total.dead,
                )
            )
        figures["cluster", "", "lag"] = lag if overview.is_whole else None
        self.histories.forget_others("group", list(overview.by_group))
        self.histories.put(figures, now_s)
        return tuple(found)

    def _note_lease(self, now_s: float) -> None:
        epoch = self.sources.metadata.current.epoch
        if self._epoch and epoch != self._epoch:
            self._lease_changed_s = now_s
        self._epoch = epoch

    def _judge(self, now_s: float) -> None:
        """Find the problems, and how long each has been seen."""
        found = problems_of(self.facts)
        self._since = {one.key: self._since.get(one.key, now_s) for one in found}
        self.problems = [
            replace(one, age_s=now_s - self._since[one.key]) if one.age_s is None else one
            for one in found
        ]


def _work(
    broker_id: int, before: BrokerStanding, after: BrokerStanding
) -> dict[Hashable, float | None]:
    """Return how late a broker's ticks came between two answers, and how long its syncs took."""
    ticks, late = after.ticks - before.ticks, after.ticks_late - before.ticks_late
    counts = counts_between(before.sync_counts, after.sync_counts)
    is_same = after.uptime_s >= before.uptime_s
    return {
        ("broker", broker_id, "late"): late / ticks if is_same and ticks > 0 else None,
        ("broker", broker_id, "sync_p50"): quantile(after.sync_bounds_s, counts, 0.5),
        ("broker", broker_id, "sync_p99"): quantile(after.sync_bounds_s, counts, 0.99),
    }


def _figures(kind: str, name: Hashable, flow: Flow) -> dict[Hashable, float | None]:
    return {(kind, name, figure): getattr(flow, figure) for figure in FIGURES}
