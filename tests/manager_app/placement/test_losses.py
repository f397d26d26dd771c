"""A person accepts what a partition lost."""

from __future__ import annotations

import pytest

from manager_app import periodic
from manager_app.models import LossAccepted, Partition, Replica
from manager_app.placement.loss_rules import OFFSETS_LEFT_OUT
from tests.manager_app.writing import change

LOSS = "/topics/logs/partitions/0/loss"


@pytest.fixture
async def lost(site):
    """A partition all of whose replicas were restored, that of broker 2 from the latest copy."""
    await site.create_topic(partitions=1)
    group = site.twins.group("logs", 0)
    for twin in site.twins.brokers:
        await twin.report()
    await site.in_database(
        lambda: change(Replica.objects.all(), kept_offset=40, kept_term=group.term + 2)
    )
    group.leader = 0
    for twin in site.twins.brokers:
        twin.membership.faults[1] = "restored from an older copy"
        twin.losses.ends[1] = (20 + (twin.broker_id == 2), 15 + twin.broker_id)
        await twin.report()
    return site


async def call(site, method="GET", fields=None, *, status=200):
    return await site.ask(
        method, LOSS, fields, status=status, authorization=f"Bearer {site.cluster_token}"
    )


async def test_what_would_be_lost_is_told_and_changes_nothing(lost):
    told = await call(lost)
    assert (told["broker_id"], told["replica_id"], told["accepted"]) == (2, 2, False)
    assert (told["end_offset"], told["known_offset"]) == (17, 40)
    assert told["next_offset"] == 40 + OFFSETS_LEFT_OUT
    assert [one["end_offset"] for one in told["replicas"]] == [16, 17, 18]
    assert not await lost.in_database(LossAccepted.objects.exists)


async def test_who_accepts_it_is_kept_and_the_partition_is_filled_again(lost):
    term = lost.twins.group("logs", 0).term
    done = await call(lost, "POST", {"by": "ada@example"})
    assert (done["accepted"], done["broker_id"]) == (True, 2)
    kept = await lost.in_database(LossAccepted.objects.get)
    assert (kept.accepted_by, kept.topic_name, kept.index, kept.done) == (
        *("ada@example", "logs", 0),
        True,
    )
    assert (kept.end_offset, kept.known_offset, kept.old_replica_id) == (17, 40, 2)
    assert lost.twins.group("logs", 0).term > term + 2
    for _ in range(6):
        for twin in lost.twins.brokers:
            await twin.report()
        await lost.in_database(periodic.reconcile_placement, lost.runtime)
    (partition,) = (await lost.get("/topics/logs"))["partitions"]
    assert partition["condition"] == "healthy"
    assert len(partition["replicas"]) == 3
    again = await call(lost, "POST", {"by": "ada@example"}, status=409)
    assert "has a leader" in again["message"]


async def test_what_was_cut_off_is_finished_by_the_next_call(lost):
    real = lost.runtime.orders.brokers
    lost.runtime.orders.brokers = Refusing(real)
    failed = await call(lost, "POST", {"by": "ada"}, status=503)
    assert failed["code"] == "NOT_READY"
    lost.runtime.orders.brokers = real
    assert (await call(lost))["accepted"]
    version = (await lost.in_database(Partition.objects.get)).placement_version
    await call(lost, "POST", {"by": "bob"})
    kept = await lost.in_database(LossAccepted.objects.get)
    assert (kept.accepted_by, kept.done) == ("ada", True)
    assert (await lost.in_database(Partition.objects.get)).placement_version == version


class Refusing:
    """Passes calls to brokers on, but for orders, which nobody takes."""

    def __init__(self, brokers):
        self._brokers = brokers

    async def ask(self, broker_id, call, answer_type, **options):
        if call.method == "POST":
            return None
        return await self._brokers.ask(broker_id, call, answer_type, **options)
