from __future__ import annotations

import pytest

from myqueue.contract.errors import BrokerUnreachable, InvalidRequest, NoLeader, UnsettledDeliveries
from myqueue.contract.group_inputs import MAX_RECEIPTS
from myqueue.results import Delivery, Settlement
from myqueue.worker.ack_batches import AckBatches


def delivery(partition: int, offset: int) -> Delivery:
    return Delivery("logs", partition, offset, "value", receipt=f"1.{offset}.1")


def row(one: Delivery, *, done: bool = True, **more: str) -> dict[str, object]:
    return {"receipt": one.receipt, "done": done, **more}


def test_each_partition_has_a_call_and_the_results_the_order_given() -> None:
    given = [delivery(1, 0), delivery(0, 0), delivery(1, 1)]
    acks = AckBatches(given)
    one, other = acks.open_batches()
    assert (one.where, one.indexes) == (("logs", 1), (0, 2))
    assert (other.where, other.indexes) == (("logs", 0), (1,))
    acks.answered(other, [row(given[1], done=False, reason="superseded")])
    acks.answered(one, [row(given[2]), row(given[0])])
    assert acks.open_batches() == []
    assert acks.results() == [
        Settlement(given[0], True),
        Settlement(given[1], False, "superseded"),
        Settlement(given[2], True),
    ]


def test_many_deliveries_of_a_partition_are_several_calls() -> None:
    given = [delivery(0, offset) for offset in range(MAX_RECEIPTS + 1)]
    assert [len(batch.indexes) for batch in AckBatches(given).open_batches()] == [MAX_RECEIPTS, 1]
    assert AckBatches([]).results() == []


def test_what_did_not_reach_its_partition_is_told_with_the_reason() -> None:
    given = [delivery(0, 0), delivery(1, 0), delivery(2, 0)]
    acks = AckBatches(given)
    first, second, third = acks.open_batches()
    acks.failed(first, NoLeader())
    acks.failed(second, InvalidRequest("no"))
    acks.answered(third, [row(given[2])])
    assert acks.open_batches() == [first], "what cannot be retried is not asked again"
    with pytest.raises(UnsettledDeliveries, match=r"2 of 3 .* NO_LEADER") as caught:
        acks.results()
    reasons = [(one.done, one.reason) for one in caught.value.details["results"]]
    assert reasons == [(False, "NO_LEADER"), (False, "INVALID_REQUEST"), (True, "")]
    assert caught.value.outcome_known
    acks.failed(first, BrokerUnreachable("lost", outcome="unknown"))
    with pytest.raises(UnsettledDeliveries) as caught:
        acks.results()
    assert not caught.value.outcome_known
    acks.answered(first, [])
    with pytest.raises(UnsettledDeliveries, match="1 of 3"):
        acks.results()
