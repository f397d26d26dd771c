"""What is wrong, and what to do about it: pure rules over what a manager sees."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from manager_app.models import BrokerState
from manager_app.placement.partition_facts import SUSPECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manager_app.health.facts import BrokerFacts, ClusterFacts, GroupFacts, Named

BAD, WARN, NOTE = "bad", "warn", "note"
"""Messages are refused or at risk; somebody should look soon; worth knowing."""
UNANSWERED_S = 7.0
"""A broker that was not heard for longer is a problem: more than one question went unanswered."""
LEASE_TOLD_S = 600.0
"""For which a change of the primary is told."""
LATE_TICKS_SHARE = 0.05
"""Of all ticks of a minute, above which a broker's clock counts as late."""
LAG_MIN = 1_000
"""A group with less left to read does not count as falling behind."""
LAG_AGE_MIN_S = 60.0
"""Nor one whose oldest message left is younger."""
LAG_GROWTH = 1.1
"""It has so many times the lag of five minutes before."""
BROKERS_NAMED_MAX = 5
"""Brokers of a version that are named."""
RESERVE_NEAR = 2.0
"""A disk with less free space than so many times its reserve will be full soon."""


class To(NamedTuple):
    """A page of the console."""

    link: str
    """What the link to it says."""
    page: str
    """Name of its URL, as `console:broker`."""
    parts: Mapping[str, object] = MappingProxyType({})
    """Of that URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong."""

    key: str
    """The same while it is the same problem."""
    severity: str
    text: str
    """What is wrong, in a sentence."""
    advice: str
    """What to do, or what happens by itself."""
    to: To | None = None
    """Where one does it."""
    age_s: float | None = None
    """How long it has been so; None: as long as it has been seen."""


def problems_of(facts: ClusterFacts) -> list[Problem]:
    """Return what is wrong, the worst first."""
    found = [
        *_of_brokers(facts),
        *_of_partitions(facts),
        *_of_groups(facts),
        *_of_lease(facts),
        *_of_versions(facts),
    ]
    order = (BAD, WARN, NOTE)
    return sorted(found, key=lambda problem: order.index(problem.severity))


def sentence(facts: ClusterFacts, problems: list[Problem]) -> tuple[str, str]:
    """Return (severity, sentence) of how the cluster is; the severity is `good` when it is well."""
    bad = sum(problem.severity == BAD for problem in problems)
    warn = sum(problem.severity == WARN for problem in problems)
    if bad:
        return BAD, f"{_count(bad, 'problem')} {'needs' if bad == 1 else 'need'} somebody now."
    if warn:
        return WARN, f"It works; {_count(warn, 'thing')} should be looked at."
    live = sum(broker.state == BrokerState.ALIVE for broker in facts.brokers)
    if not facts.partitions:
        return "good", f"All is well: {_count(live, 'broker')} and no topic yet."
    partitions = _count(facts.partitions, "partition")
    where = f"on {_count(live, 'broker')}"
    return "good", f"All is well: {partitions} with leaders and all replicas, {where}."


def _of_brokers(facts: ClusterFacts) -> Iterator[Problem]:
    if not facts.brokers:
        yield Problem(
            key="no broker",
            severity=BAD,
            text="No broker has registered.",
            advice="Start one with `manage.py broker`: it registers by itself.",
        )
    for broker in facts.brokers:
        if silence := _silence(broker, facts):
            yield silence
        else:
            yield from _of_disk(broker)
            yield from _of_ticks(broker)


def _silence(broker: BrokerFacts, facts: ClusterFacts) -> Problem | None:
    """Return the problem that a broker is not heard."""
    name, silent_s = f"Broker {broker.broker_id}", broker.silent_s
    is_silent = silent_s is not None and silent_s > UNANSWERED_S
    if broker.state == BrokerState.NEW:
        return Problem(
            key=f"broker {broker.broker_id} new",
            severity=WARN,
            text=f"{name} was announced and has never reported.",
            advice=f"Start it at {broker.address}, or remove it.",
            to=_to_broker(broker),
        )
    if broker.state not in (BrokerState.DEAD, SUSPECT) and not is_silent:
        return None
    is_dead = broker.state == BrokerState.DEAD
    return Problem(
        key=f"broker {broker.broker_id} silent",
        severity=BAD,
        text=f"{name} is dead: it has not been heard." if is_dead else f"{name} does not answer.",
        advice=(
            f"Look at its machine and its process at {broker.address}. Other brokers lead its"
            " partitions meanwhile; its replicas are made anew elsewhere after"
            f" {facts.replace_after_s:,.0f} s of silence, if there is room."
        ),
        age_s=silent_s,
        to=_to_broker(broker),
    )


def _of_disk(broker: BrokerFacts) -> Iterator[Problem]:
    free, reserve = broker.disk_free_bytes, broker.disk_reserve_bytes
    if broker.disk_full or 0 < free < reserve:
        yield Problem(
            key=f"broker {broker.broker_id} disk",
            severity=BAD,
            text=f"The disk of broker {broker.broker_id} has less free space than its reserve:"
            " it takes no messages.",
            advice="Shorten the retention of topics, delete what is not needed, or drain it.",
            to=_to_broker(broker),
        )
    elif 0 < free < RESERVE_NEAR * reserve:
        yield Problem(
            key=f"broker {broker.broker_id} disk",
            severity=WARN,
            text=f"The disk of broker {broker.broker_id} is nearly down to its reserve.",
            advice="Shorten the retention of topics, delete what is not needed, or add a broker.",
            to=_to_broker(broker),
        )
    if broker.disk_slow:
        yield Problem(
            key=f"broker {broker.broker_id} slow",
            severity=WARN,
            text=f"The disk of broker {broker.broker_id} is slower than those of others.",
            advice="It is given no leadership until its disk is quick again. Look at the disk.",
            to=_to_broker(broker),
        )


def _of_ticks(broker: BrokerFacts) -> Iterator[Problem]:
    share = broker.ticks_late_share
    if share is not None and share > LATE_TICKS_SHARE:
        yield Problem(
            key=f"broker {broker.broker_id} ticks",
            severity=WARN,
            text=f"The clock of broker {broker.broker_id} is late: {share:.0%} of its ticks.",
            advice="Its machine is too busy; elections may come of it. Give it more processor.",
            to=_to_broker(broker),
        )


def _of_partitions(facts: ClusterFacts) -> Iterator[Problem]:
    if named := facts.leaderless.count:
        yield Problem(
            key="leaderless",
            severity=BAD,
            text=f"{_count(named, 'partition')} {_has(named)} no leader:"
            f" {_some(facts.leaderless)}.",
            advice="They take and give no messages until a majority of their replicas answers:"
            " bring the brokers back that are silent.",
            to=To("Topics", "console:topics"),
        )
    if named := facts.lost.count:
        yield Problem(
            key="lost",
            severity=WARN,
            text=f"{_count(named, 'partition')} {_has(named)} a replica that lost its data or is"
            f" faulty: {_some(facts.lost)}.",
            advice="Another replica is made in its place, if a broker has room for it.",
            to=To("Topics", "console:topics"),
        )
    if named := facts.under_replicated.count:
        yield Problem(
            key="under-replicated",
            severity=WARN,
            text=f"{_count(named, 'partition')} {_has(named)} fewer replicas than wanted:"
            f" {_some(facts.under_replicated)}.",
            advice="Nothing is lost. They are whole again once their brokers are back, or once"
            " others have copied them.",
            to=To("Brokers", "console:brokers"),
        )


def _of_groups(facts: ClusterFacts) -> Iterator[Problem]:
    for group in facts.groups:
        if _falls_behind(group):
            yield Problem(
                key=f"group {group.name} behind",
                severity=WARN,
                text=f"Group {group.name} falls behind: {group.lag:,} messages left,"
                f" {group.lag - int(group.lag_before or 0):,} more than 5 minutes ago.",
                advice="Start more members, as many as there are partitions, or find out what"
                " holds them up.",
                to=To("Group", "console:group", {"group": group.name}),
            )
        if group.dead:
            yield Problem(
                key=f"group {group.name} dead",
                severity=WARN,
                text=f"{_count(group.dead, 'dead message')} of group {group.name} could not be"
                " copied to its dead-letter topic yet.",
                advice="Create the topic, or give the workers the right to it.",
                to=To("Group", "console:group", {"group": group.name}),
            )
    for topic, count in sorted(facts.dead_letters.items()):
        yield Problem(
            key=f"dead letters {topic}",
            severity=WARN,
            text=f"{_count(count, 'dead letter')} in {topic}.",
            advice="Workers failed at them too often. Look at why, then redrive or purge them.",
            to=To("Topic", "console:topic", {"topic": topic}),
        )


def _falls_behind(group: GroupFacts) -> bool:
    return (
        group.lag >= LAG_MIN
        and group.age_s is not None
        and group.age_s >= LAG_AGE_MIN_S
        and group.lag_before is not None
        and group.lag > LAG_GROWTH * group.lag_before
    )


def _of_lease(facts: ClusterFacts) -> Iterator[Problem]:
    if facts.lease_age_s is not None and facts.lease_age_s < LEASE_TOLD_S:
        yield Problem(
            key=f"lease {facts.epoch}",
            severity=NOTE,
            text=f"The primary manager changed; it is {facts.primary_address or 'nobody'} now.",
            advice="Nothing, if somebody restarted the one before. Else look at its log.",
            to=To("Events", "console:events"),
            age_s=facts.lease_age_s,
        )


def _of_versions(facts: ClusterFacts) -> Iterator[Problem]:
    brokers: dict[str, list[str]] = {}
    for broker in facts.brokers:
        if broker.version and broker.state == BrokerState.ALIVE:
            brokers.setdefault(broker.version, []).append(str(broker.broker_id))
    if not brokers.keys() - {facts.version}:
        return
    running = [
        f"{version} on broker{'' if len(ids) == 1 else 's'} {', '.join(ids[:BROKERS_NAMED_MAX])}"
        + (f" and {len(ids) - BROKERS_NAMED_MAX} more" if len(ids) > BROKERS_NAMED_MAX else "")
        for version, ids in sorted(brokers.items())
    ]
    yield Problem(
        key="versions",
        severity=NOTE,
        text=f"Versions are mixed: {facts.version} on this manager, {'; '.join(running)}.",
        advice=(
            "Go on with the upgrade: two versions that follow each other work together, but what"
            " is new is used when all run it."
        ),
        to=To("Brokers", "console:brokers"),
    )


def _to_broker(broker: BrokerFacts) -> To:
    return To("Broker", "console:broker", {"broker_id": broker.broker_id})


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _some(named: Named) -> str:
    more = named.count - len(named.names)
    return ", ".join(named.names) + (f" and {more:,} more" if more > 0 else "")
