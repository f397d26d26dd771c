from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from django.utils import timezone

from manager_app.metadata import (
    BrokerMetadata,
    ClusterMetadata,
    Leadership,
    MetadataCopy,
    PartitionMetadata,
    StoredSettings,
    TopicMetadata,
)
from myqueue.contract.errors import PartitionNotFound, TopicDoesNotExist

TOPIC = TopicMetadata(
    "logs",
    2,
    (PartitionMetadata(1, 0, "logs", (1, 2, 3)), PartitionMetadata(2, 1, "logs", (2, 3, 1))),
    StoredSettings(3, None, None, timezone.now()),
)
STORED = ClusterMetadata(
    version=5,
    topics={"logs": TOPIC},
    brokers={1: BrokerMetadata(1, "http://h:1", "alive")},
    leaders={1: Leadership(1, 3), 2: Leadership(0, 0)},
)


class Database:
    """What the copy reads."""

    def __init__(self):
        self.stored = STORED
        self.loads = 0
        self.seconds = 10.0

    def load(self, known):
        self.known = known
        self.loads += 1
        return self.stored

    def copy(self):
        return MetadataCopy(
            load=self.load,
            load_version=lambda: self.stored.version,
            monotonic_s=lambda: self.seconds,
        )


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def copy(database):
    copy = database.copy()
    copy.refresh()
    return copy


def test_before_the_first_load_nothing_is_known(database):
    copy = database.copy()
    assert copy.age_ms is None
    with pytest.raises(TopicDoesNotExist):
        copy.topic("logs")
    assert copy.leader_of(1) == Leadership(0, 0)


def test_polling_loads_only_what_changed(database, copy):
    assert copy.poll() is False
    assert database.loads == 1
    database.stored = replace(STORED, version=6, topics={})
    assert copy.poll() is True
    assert database.loads == 2
    with pytest.raises(TopicDoesNotExist):
        copy.topic("logs")


def test_the_age_counts_from_the_last_look_at_the_database(database, copy):
    database.seconds += 1.5
    assert copy.age_ms == 1_500
    copy.poll()
    assert copy.age_ms == 0


def test_a_noted_leader_survives_a_load_of_an_older_term(database, copy):
    copy.note_leaders([(1, Leadership(2, 4))])
    copy.refresh()
    assert copy.leader_of(1) == Leadership(2, 4)
    copy.note_leaders([(1, Leadership(3, 3))])
    assert copy.leader_of(1) == Leadership(2, 4)
    database.stored = replace(STORED, leaders={1: Leadership(0, 4)})
    copy.refresh()
    assert copy.leader_of(1) == Leadership(0, 4)


def test_leaders_of_deleted_groups_are_dropped(database, copy):
    database.stored = replace(STORED, leaders={2: Leadership(1, 1)})
    copy.refresh()
    assert copy.leader_of(1) == Leadership(0, 0)


@pytest.mark.parametrize("index", [-1, 2, 10**30])
def test_a_partition_out_of_range_is_named(index):
    with pytest.raises(PartitionNotFound, match=str(index)):
        TOPIC.partition(index)


async def test_who_waits_is_woken_by_a_change_from_another_thread(copy):
    loop = asyncio.get_running_loop()
    copy.attach(loop)
    waiting = asyncio.ensure_future(copy.wait_until(lambda: copy.leader_of(2).broker_id == 3, 5))
    await loop.run_in_executor(None, copy.note_leaders, [(2, Leadership(3, 1))])
    async with asyncio.timeout(2):
        assert await waiting is True
    assert copy._waiting == set()


async def test_waiting_ends_with_its_time(copy):
    copy.attach(asyncio.get_running_loop())
    assert await copy.wait_until(lambda: False, 0.01) is False
    assert await copy.wait_until(lambda: True, 0.0) is True


def test_a_part_that_was_read_leaves_the_leaders_of_all_other_topics(database, copy):
    copy.note_leaders([(1, Leadership(2, 9))])
    database.stored = replace(
        STORED, version=6, is_part=True, leaders={2: Leadership(3, 1), 7: Leadership(1, 1)}
    )
    assert copy.poll()
    assert database.known is STORED
    assert [copy.leader_of(one).broker_id for one in (1, 2, 7)] == [2, 3, 1]
    database.stored = replace(STORED, version=7, leaders={1: Leadership(3, 4)})
    copy.refresh()
    assert copy.leader_of(1) == Leadership(2, 9)
    assert copy.leader_of(7) == Leadership(0, 0)
