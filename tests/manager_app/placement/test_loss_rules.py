"""With what a partition without a quorum may go on, as pure decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from http_base.cluster import StoredReplica
from manager_app.placement.loss_rules import OFFSETS_LEFT_OUT, LossFacts, plan_loss
from myqueue.contract.errors import StalePlacement


def found(number, **fields):
    facts = {
        "replica_id": number,
        "faulty": "restored",
        "hears_leader": False,
        "unusable": "",
        "term": 3,
        "last_term": 2,
        "last_index": 10,
        "end_offset": 8,
    }
    return StoredReplica(**(facts | fields))


def replica(number, *, gone=False, faulty=True, kept_term=2, kept_offset=9, **fields):
    return LossFacts(
        replica_id=number,
        broker_id=10 + number,
        gone=gone,
        faulty=faulty,
        kept_term=kept_term,
        kept_offset=kept_offset,
        found=found(number, faulty="restored" if faulty else "", **fields),
    )


def unreached(number, **fields):
    return replace(replica(number, **fields), found=None)


def test_the_replica_with_the_best_log_goes_on_above_all_terms_and_offsets():
    plan = plan_loss(
        [
            replica(1, last_index=12, end_offset=11),
            replica(2, last_term=3, last_index=9, end_offset=7, kept_term=6),
            replica(3, kept_offset=20),
        ],
        term=4,
    )
    assert (plan.survivor.replica_id, plan.above_term) == (2, 6)
    assert (plan.end_offset, plan.known_offset) == (7, 20)
    assert plan.next_offset == 20 + OFFSETS_LEFT_OUT


def test_what_another_replica_has_is_known_as_lost_too():
    plan = plan_loss([replica(1, last_term=9, end_offset=5), replica(2, end_offset=30)], term=1)
    assert (plan.survivor.replica_id, plan.known_offset) == (1, 30)


def test_one_that_is_sound_is_gone_on_with_when_the_others_never_come_back():
    sound = replica(1, faulty=False, last_index=30)
    plan = plan_loss([sound, unreached(2), unreached(3, gone=True, faulty=False)], term=1)
    assert plan.survivor is sound


@pytest.mark.parametrize(
    ("replicas", "why"),
    [
        ([replica(1), replica(2), replica(3, faulty=False, hears_leader=True)], "has a leader"),
        ([replica(1, faulty=False), replica(2, faulty=False), replica(3)], "will elect a leader"),
        ([replica(1, unusable="damaged"), unreached(2), unreached(3)], "no replica can be"),
        (
            [replica(1), unreached(2, faulty=False), unreached(3, faulty=False)],
            "brokers 12, 13 may come back",
        ),
    ],
)
def test_where_nothing_is_lost_or_nothing_is_left_it_is_refused(replicas, why):
    with pytest.raises(StalePlacement, match=why):
        plan_loss(replicas, term=1)
