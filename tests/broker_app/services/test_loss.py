"""A replica of a whole broker that is gone on with, and what readers see in place of the rest."""

from __future__ import annotations

import pytest

from broker_app.log_reading import messages_read
from broker_app.services.loss import FILLER_MAX, loss_accept, replica_examine
from broker_app.services.produce import batch_produce
from http_base.cluster import LossOrder
from myqueue.contract.errors import CorruptBatch, InvalidRequest, StalePlacement
from myqueue.contract.records import MAX_RECORDS, decode_rows, placeholder_batch, read_header
from tests.broker_app.manager_twin import ManagerTwin
from tests.broker_app.replica import batch_of
from tests.broker_app.test_process import make, order, until

NEXT = 3 + 2 * MAX_RECORDS + 5


def loss_order(**changes):
    fields = {
        "topic": "logs",
        "partition": 0,
        "old_replica_id": 11,
        "replica_id": 21,
        "above_term": 40,
        "next_offset": NEXT,
        "epoch": 1,
        "version": 2,
    }
    return LossOrder(**(fields | changes))


@pytest.fixture
async def process(tmp_path, django_db_blocker):
    """A broker whose only replica holds three messages and is faulty."""
    with django_db_blocker.unblock():
        async with ManagerTwin() as manager:
            manager.assignment = [order()]
            process = make(tmp_path, manager)
            await process.start()
            await until(lambda: 1 in process.engine.replicas, process)
            replica = process.engine.replicas[1]
            await until(lambda: replica.serves, process)
            batch = batch_of("a", "b", "c").batch
            await batch_produce(
                runtime=process.runtime,
                replica=replica,
                producer_id=1,
                batch=batch,
                timeout_ms=5_000,
            )
            manager.assignment = []
            yield process
            await process.stop()


def lose(process):
    process.engine.engine_loop.make_faulty(process.engine.replicas[1], "older copy")


async def accepted(process, **changes):
    return await loss_accept(runtime=process.runtime, group_id=1, order=loss_order(**changes))


async def test_it_says_what_it_has_whatever_made_it_faulty(process):
    sound = await replica_examine(runtime=process.runtime, group_id=1)
    assert (sound.hears_leader, sound.faulty, sound.end_offset) == (True, "", 3)
    lose(process)
    found = await replica_examine(runtime=process.runtime, group_id=1)
    assert (found.hears_leader, found.faulty, found.unusable) == (False, "older copy", "")
    assert (found.replica_id, found.end_offset) == (11, 3)
    assert (found.last_index, found.last_term) == (sound.last_index, sound.last_term)


async def test_messages_stay_and_the_offsets_of_lost_ones_are_stepped_over(process):
    lose(process)
    replica = await accepted(process)
    await until(lambda: replica.serves, process)
    assert replica.spec.replica_id == 21
    assert replica.node.term > 40
    assert (await accepted(process)) is replica, "again changes nothing"
    appended = await batch_produce(
        runtime=process.runtime,
        replica=replica,
        producer_id=1,
        batch=batch_of("d").batch,
        timeout_ms=5_000,
    )
    assert appended.base_offset == NEXT
    read = await messages_read(
        runtime=process.runtime,
        replica=replica,
        start=0,
        end=NEXT + 1,
        max_messages=10,
        max_bytes=1_000,
    )
    assert [(offset, record.value) for offset, record in read.messages] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (NEXT, "d"),
    ]
    assert read.corrupt == NEXT - 3


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"topic": "other"}, StalePlacement, "group 1 is here"),
        ({"old_replica_id": 12}, StalePlacement, "group 1 is here"),
        ({"epoch": 0}, StalePlacement, "epoch"),
        ({"next_offset": 4 + FILLER_MAX * MAX_RECORDS}, InvalidRequest, "too far"),
    ],
)
async def test_what_does_not_fit_is_refused(process, changes, error, why):
    lose(process)
    with pytest.raises(error, match=why):
        await accepted(process, **changes)
    assert process.engine.replicas[1].spec.replica_id == 11


async def test_a_partition_with_a_leader_loses_nothing(process):
    with pytest.raises(StalePlacement, match="has a leader"):
        await accepted(process)
    assert process.engine.replicas[1].serves


def test_a_placeholder_is_a_whole_batch_that_nobody_can_read():
    batch = placeholder_batch(7, 1_000)
    header = read_header(batch)
    assert (header.record_count, header.first_timestamp, header.sequenced) == (7, 1_000, False)
    with pytest.raises(CorruptBatch):
        decode_rows(batch, header)
