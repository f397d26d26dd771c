"""The list of groups where there are 500 in 20 topics each: processor time of this thread."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from types import SimpleNamespace

import pytest

from http_base.cluster import GroupStanding
from manager_app import runtime
from manager_app.console.pages.groups import PAGE_SIZE
from manager_app.groups.standings import Overview
from manager_app.models import ConsumerGroup

GROUPS = 500
TOPICS = [f"topic-{number}" for number in range(20)]
PAGE_S = 0.3
"""Most processor time of a page, in the middle of some."""
LOOKS = 5


def standing(group, topic):
    return GroupStanding(
        group=group,
        topic=topic,
        is_workers=group.startswith("w"),
        partitions=10,
        lag=len(group) * 1_000,
        visible=7,
        age_ms=60_000 * len(topic),
    )


@pytest.fixture
def large(db, monkeypatch):
    ConsumerGroup.objects.bulk_create(
        ConsumerGroup(name=f"g{number}", generation=1, topics={"topic-0": [4, 1]})
        for number in range(GROUPS // 2)
    )
    names = [f"{kind}{number}" for number in range(GROUPS // 2) for kind in "gw"]
    told = Overview(
        by_group={name: {topic: standing(name, topic) for topic in TOPICS} for name in names}
    )

    async def recent():
        return told

    manager = SimpleNamespace(
        standings=SimpleNamespace(recent=recent),
        run=lambda coroutine, timeout_s: asyncio.run(coroutine),
    )
    monkeypatch.setattr(runtime, "current", lambda: manager)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("query", ["", "?order=name&after=g3", "?kind=workers&topic=topic-3"])
def test_a_page_takes_little_however_many_groups_there_are(log_in, query):
    browser = log_in("operator")
    took = []
    for _ in range(LOOKS):
        begun_s = time.thread_time()
        answer = browser.get(f"/admin/groups/{query}")
        took.append(time.thread_time() - begun_s)
        assert answer.status_code == 200
        assert answer.content.count(b'<th scope="row">') == PAGE_SIZE
    assert median(took) <= PAGE_S, took
