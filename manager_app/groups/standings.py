"""Where all groups are, as the brokers tell: lag in messages and in time, what workers have out.

Managers store none of it. Each keeps what was told last for pages, metrics and charts, which show
how old it is; lists of the API ask anew.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from http_base.cluster import GroupStanding, GroupStandings
from manager_app.brokers.client import BrokerCall
from manager_app.models import BrokerState
from myqueue.contract.group_inputs import DEAD_LETTER_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from manager_app.brokers.client import BrokerContact
    from manager_app.metadata import MetadataCopy

ASK_LIMIT_S = 0.5
"""For each broker, all at once; one that did not answer is named."""
RECENT_S = 5.0
"""How old may be what pages show and metrics tell."""


@dataclass(frozen=True)
class Overview:
    """Where groups were at one moment."""

    asked_s: float = float("-inf")
    """Monotonic time of the question."""
    by_group: Mapping[str, Mapping[str, GroupStanding]] = field(default_factory=dict)
    """Name -> topic -> where the group is in all partitions whose leaders answered."""
    silent: frozenset[int] = frozenset()
    """Ids of brokers that did not answer, or were not asked since they do not: what they lead is
    missing."""
    left_out: int = 0
    """Standings that did not fit into the answers of brokers."""

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is missing."""
        return not self.silent and not self.left_out

    def total(self, group: str) -> GroupStanding | None:
        """Return where a group is in all of its topics together; None when no broker knows it."""
        of_topics = self.by_group.get(group)
        return summed(of_topics.values()) if of_topics else None

    @property
    def work_groups(self) -> dict[str, list[str]]:
        """The groups of queue workers, each with its topics, both in order."""
        found = {
            name: sorted(topic for topic, one in of.items() if one.is_workers)
            for name, of in sorted(self.by_group.items())
        }
        return {name: topics for name, topics in found.items() if topics}


class StandingsCopy:
    """What brokers told last; its coroutines belong to the manager's loop."""

    def __init__(
        self, metadata: MetadataCopy, brokers: BrokerContact, monotonic_s: Callable[[], float]
    ) -> None:
        """Make one that knows nothing yet.

        Args:
            metadata: the states of brokers.
            brokers: calls brokers by their ids.
            monotonic_s: clock, in seconds.
        """
        self._metadata = metadata
        self._brokers = brokers
        self._monotonic_s = monotonic_s
        self._asking = asyncio.Lock()
        self.latest = Overview()
        """Any thread may read it."""

    async def ask(self) -> Overview:
        """Ask all brokers that should be there, `ASK_LIMIT_S` at most, and keep the answer."""
        asked_s = self._monotonic_s()
        living = [
            broker.broker_id
            for broker in self._metadata.current.brokers.values()
            if broker.state in (BrokerState.ALIVE, BrokerState.STOPPING)
        ]
        call = BrokerCall("GET", "/groups", asks_silent=False)
        answers = await asyncio.gather(
            *(self._brokers.ask(one, call, GroupStandings, timeout_s=ASK_LIMIT_S) for one in living)
        )
        told = dict(zip(living, answers, strict=True))
        self.latest = overview_of(told, asked_s)
        return self.latest

    def outdate(self) -> None:
        """Let the next page ask anew, since something was changed; any thread may call it."""
        self.latest = dataclasses.replace(self.latest, asked_s=float("-inf"))

    async def recent(self, max_age_s: float = RECENT_S) -> Overview:
        """Return what was told at most so long ago; who comes meanwhile waits for one question."""
        async with self._asking:
            if self._monotonic_s() - self.latest.asked_s > max_age_s:
                await self.ask()
        return self.latest


def overview_of(told: Mapping[int, GroupStandings | None], asked_s: float) -> Overview:
    """Put together what brokers told.

    Args:
        told: by broker id; None of one that did not answer.
        asked_s: monotonic time of the question.
    """
    parts: dict[str, dict[str, list[GroupStanding]]] = defaultdict(lambda: defaultdict(list))
    answers = [answer for answer in told.values() if answer is not None]
    for answer in answers:
        for one in answer.standings:
            parts[one.group][one.topic].append(one)
    return Overview(
        asked_s=asked_s,
        by_group={
            name: {topic: summed(of) for topic, of in topics.items()}
            for name, topics in parts.items()
        },
        silent=frozenset(one for one, answer in told.items() if answer is None),
        left_out=sum(answer.left_out for answer in answers),
    )


def summed(standings: Iterable[GroupStanding]) -> GroupStanding:
    """Return several standings of a group as one; its topic is that of the first.

    Ages are the highest that is known, None when none is where messages are left.
    """
    first, *others = standings
    if not others:
        return first
    every = [first, *others]
    ages = [one.age_ms for one in every if one.age_ms is not None]
    ages_unknown = sum(one.ages_unknown for one in every)
    return replace(
        first,
        is_workers=any(one.is_workers for one in every),
        partitions=sum(one.partitions for one in every),
        lag=sum(one.lag for one in every),
        visible=sum(one.visible for one in every),
        in_flight=sum(one.in_flight for one in every),
        delayed=sum(one.delayed for one in every),
        dead=sum(one.dead for one in every),
        age_ms=None if ages_unknown and not any(ages) else max(ages),
        ages_unknown=ages_unknown,
    )


def dead_letter_topic(standing: GroupStanding) -> str:
    """Return where the dead messages of workers in a topic go."""
    return standing.dead_letter_topic or standing.topic + DEAD_LETTER_SUFFIX
