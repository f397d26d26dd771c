"""Where all groups are, as brokers told: put together, kept for a moment, and what is missing."""

from __future__ import annotations

import asyncio

import pytest

from http_base.cluster import GroupStanding, GroupStandings
from manager_app.groups import standings
from manager_app.groups.standings import StandingsCopy, overview_of, summed
from tests.manager_app.group_twin import CommittedTwin


def standing(group="g", topic="logs", **figures):
    known = {"is_workers": False, "partitions": 1, "lag": 0, "age_ms": 0, **figures}
    return GroupStanding(group=group, topic=topic, **known)


@pytest.mark.parametrize(
    ("ages", "unknown", "age_ms"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 700), (0, 0), 700),
        ((None, 700), (1, 0), 700),
        ((None, 0), (1, 0), None),
        ((None, None), (1, 2), None),
    ],
)
def test_an_age_is_the_highest_known_and_none_where_messages_left_have_none(ages, unknown, age_ms):
    parts = [
        standing(lag=2, age_ms=age, ages_unknown=count)
        for age, count in zip(ages, unknown, strict=True)
    ]
    told = summed(parts)
    assert (told.age_ms, told.ages_unknown, told.lag) == (age_ms, sum(unknown), 4)


def test_what_brokers_told_is_put_together_by_group_and_topic():
    told = overview_of(
        {
            1: GroupStandings(
                standings=[
                    standing(lag=3),
                    standing("w", is_workers=True, lag=4, visible=1, in_flight=2, delayed=1),
                ],
                left_out=5,
            ),
            2: GroupStandings(standings=[standing(lag=1), standing(topic="more", lag=10)]),
            3: None,
        },
        7.0,
    )
    assert {topic: one.lag for topic, one in told.by_group["g"].items()} == {"logs": 4, "more": 10}
    total = told.total("g")
    assert (total.lag, total.partitions) == (14, 3)
    workers = told.total("w")
    assert (workers.visible, workers.in_flight, workers.delayed) == (1, 2, 1)
    assert told.work_groups == {"w": ["logs"]}
    assert (told.silent, told.left_out, told.is_whole) == ({3}, 5, False)
    assert told.total("nowhere") is None


@pytest.fixture
async def filled(site):
    await site.create_topic("logs", partitions=3)
    for index in range(3):
        site.twins.group("logs", index).offsets["g"] = CommittedTwin(4, offset=0)
    return site


def copy_of(site):
    """Return one of our own: the site's asks by itself every few seconds."""
    runtime = site.runtime
    return StandingsCopy(runtime.metadata, runtime.orders.brokers, site.clock.monotonic_s)


async def test_who_asks_within_a_moment_gets_what_was_told(filled, monkeypatch):
    copy = copy_of(filled)
    asked = 0
    ask = copy.ask

    async def counted():
        nonlocal asked
        asked += 1
        return await ask()

    monkeypatch.setattr(copy, "ask", counted)
    first, second = await asyncio.gather(copy.recent(), copy.recent())
    assert first is second
    assert asked == 1
    filled.clock.seconds += standings.RECENT_S + 1
    await copy.recent()
    assert asked == 2
    copy.outdate()
    await copy.recent()
    assert asked == 3


async def test_a_broker_that_says_nothing_is_named_and_holds_up_no_other(filled, monkeypatch):
    monkeypatch.setattr(standings, "ASK_LIMIT_S", 1.0)
    leader = filled.twins.group("logs", 0).leader
    filled.twins.by_id(leader).offsets.silent.add("/groups")
    told = await copy_of(filled).ask()
    assert leader in told.silent
    led = [filled.twins.group("logs", index).leader for index in range(3)]
    assert told.total("g").partitions == sum(one not in told.silent for one in led)
