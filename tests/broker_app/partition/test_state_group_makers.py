"""Who made a group: one client cannot fill the table, and takes with it what nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker_app.partition.commands import (
    CommitOffsets,
    ExpireWork,
    ForgetClient,
    ForgetGroup,
    ReceiveMessages,
    SettleMessages,
    Start,
    Truncate,
)
from broker_app.partition.limits import StateLimits
from broker_app.partition.state import SNAPSHOT_VERSION, PartitionData
from myqueue.contract.errors import TooManyGroups
from myqueue.contract.rules.work import Receipt, SettleKind
from tests.broker_app.replica import Leader, batch_of, replay

if TYPE_CHECKING:
    from broker_app.partition.commands import PartitionWrite

MALLORY, ALICE = 66, 5


@pytest.fixture
def leader() -> Leader:
    """Six messages are there."""
    leader = Leader(StateLimits(groups_max=6, groups_per_client_max=3))
    leader.run(batch_of(*"abcdef"))
    return leader


def receive(
    name: str, client_id: int, *, count: int = 1, start: Start = Start.EARLIEST, limit: int = 5
) -> ReceiveMessages:
    return ReceiveMessages(
        name, (), 0, count, visibility_ms=10, delivery_limit=limit, start=start, client_id=client_id
    )


def commit(name: str, client_id: int, offset: int | None = None) -> CommitOffsets:
    return CommitOffsets(name, 1, offset, client_id=client_id)


def refused(leader: Leader, request: PartitionWrite) -> TooManyGroups:
    before = len(leader.log)
    with pytest.raises(TooManyGroups) as error:
        leader.decide(request)
    assert len(leader.log) == before, "nothing was proposed"
    assert not error.value.retriable
    return error.value


def groups(leader: Leader) -> int:
    return leader.state.table_sizes().consumer_groups


@pytest.mark.parametrize("make", [receive, commit])
def test_one_client_leaves_room_for_the_groups_of_others(leader: Leader, make) -> None:
    for number in range(3):
        leader.run(make(f"x{number}", MALLORY))
    for number in range(3, 1_000):
        error = refused(leader, make(f"x{number}", MALLORY))
        assert error.details == {"limit": 3, "consumer_id": MALLORY}
        assert f"consumer {MALLORY} made 3 consumer groups" in error.message
    assert groups(leader) == 3
    leader.run(make("x0", MALLORY))
    leader.run(make("mine", ALICE))
    leader.run(make("x1", ALICE))
    assert groups(leader) == 4


def test_what_is_full_for_everybody_says_so(leader: Leader) -> None:
    for number in range(6):
        leader.run(receive(f"x{number}", 1 + number // 3))
    for client_id, name in ((ALICE, "consumer 5"), (0, "the cluster")):
        error = refused(leader, receive("mine", client_id))
        assert error.details == {"limit": 6}
        assert "6 consumer groups, the limit for all clients" in error.message
        assert name in error.message


def test_groups_in_flight_count_for_their_client(leader: Leader) -> None:
    kept = len(leader.log)
    for name in ("one", "two", "two", "three"):
        leader.decide(receive(name, MALLORY))
    leader.decide(receive("three", ALICE))
    assert refused(leader, commit("four", MALLORY)).details["consumer_id"] == MALLORY
    leader.decide(receive("four", ALICE))
    leader.fail_over(kept)
    for name in ("five", "six", "seven"):
        leader.run(receive(name, MALLORY))
    refused(leader, receive("eight", MALLORY))


def test_a_group_that_was_deleted_makes_room_for_its_client(leader: Leader) -> None:
    for name in ("one", "two", "three"):
        leader.run(receive(name, MALLORY))
    leader.run(ForgetGroup("two"))
    leader.run(receive("four", MALLORY))
    refused(leader, receive("five", MALLORY))


def test_the_cluster_itself_has_no_limit_of_its_own(leader: Leader) -> None:
    for number in range(6):
        leader.run(receive(f"x{number}", 0))
    assert leader.state._data.makers.rows() == []


def test_a_deleted_client_takes_the_groups_along_that_it_alone_began(leader: Leader) -> None:
    leader.run(receive("received", MALLORY, count=0))
    leader.run(commit("fenced", MALLORY))
    leader.run(commit("others", ALICE))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 1
    leader.run(ForgetClient(producer_id=ALICE))
    assert groups(leader) == 1
    leader.run(ForgetClient(consumer_id=ALICE))
    assert groups(leader) == 0
    assert leader.state._data.makers.rows() == []


def test_what_was_delivered_stays_counted_when_its_worker_is_gone(leader: Leader) -> None:
    leader.run(receive("g", MALLORY, limit=2))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 1
    leader.clock_ms += 1_000
    again = ReceiveMessages("g", (0,), 1, 1, visibility_ms=10, delivery_limit=2, client_id=ALICE)
    assert leader.run(again).deliveries == [(0, 2)]


def test_a_group_that_somebody_else_used_outlasts_its_maker(leader: Leader) -> None:
    leader.run(receive("received", MALLORY))
    leader.run(receive("received", ALICE))
    leader.run(commit("fenced", MALLORY))
    leader.run(commit("fenced", 0))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 2


@pytest.mark.parametrize("kind", list(SettleKind))
def test_a_group_of_which_something_was_settled_outlasts_its_maker(
    leader: Leader, kind: SettleKind
) -> None:
    origin = leader.run(receive("g", MALLORY, count=2)).origin
    leader.run(SettleMessages("g", kind, [Receipt(origin, 0, 1)], 3))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 1


def test_a_settlement_that_did_nothing_keeps_no_group(leader: Leader) -> None:
    leader.run(receive("g", MALLORY, count=0))
    leader.run(SettleMessages("g", SettleKind.ACK, [Receipt(999, 0, 1)]))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 0


def test_a_group_with_dead_messages_outlasts_its_maker(leader: Leader) -> None:
    leader.run(receive("g", MALLORY, limit=1))
    leader.clock_ms += 1_000
    leader.run(ExpireWork("g"))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 1


def test_a_group_that_stands_elsewhere_than_a_new_one_outlasts_its_maker(leader: Leader) -> None:
    leader.run(receive("latest", MALLORY, count=0, start=Start.LATEST))
    leader.run(CommitOffsets("fenced", 1, None, Start.LATEST, MALLORY))
    leader.run(commit("committed", MALLORY, 2))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 3
    assert leader.state._data.makers.count(MALLORY) == 3, "they count for nobody else"


def test_what_retention_took_is_no_progress(leader: Leader) -> None:
    leader.run(receive("g", MALLORY, count=2))
    leader.run(Truncate(6))
    leader.run(ForgetClient(consumer_id=MALLORY))
    assert groups(leader) == 0


def test_followers_and_restored_snapshots_know_the_makers(leader: Leader) -> None:
    leader.run(receive("received", MALLORY, count=0))
    leader.run(commit("kept", MALLORY, 3))
    half, count = leader.state.snapshot(), len(leader.log)
    leader.run(commit("fenced", MALLORY))
    leader.run(ForgetClient(consumer_id=MALLORY))
    follower = replay(leader.log, leader.limits)
    late = replay(leader.log[count:], leader.limits, half)
    assert follower.snapshot() == late.snapshot() == leader.state.snapshot()
    assert late.table_sizes().consumer_groups == 1
    restored = Leader(leader.limits, half)
    restored.run(receive("one", MALLORY))
    refused(restored, receive("two", MALLORY))


OF_VERSION_3 = bytes.fromhex(
    "039c00030605909090909308000093cd040000919200009192a1679303020b9192a177970c0204a000919301010e90"
)
"""Three messages; a group `g` that members use, and `w` that workers use: one message is out."""


def test_state_stored_before_makers_were_known_is_read_and_stored_anew() -> None:
    data = PartitionData.decode(OF_VERSION_3)
    assert data.groups.rows() == [("g", data.groups.get("g"))]
    work = data.works.get("w")
    assert work is not None
    assert (work.next_offset, work.offset) == (2, 1)
    assert data.makers.rows() == []
    assert data.encode()[0] == SNAPSHOT_VERSION == 4
    assert PartitionData.decode(data.encode()).encode() == data.encode()
    with pytest.raises(ValueError, match="snapshot"):
        PartitionData.decode(bytes([SNAPSHOT_VERSION]) + OF_VERSION_3[1:])
