"""The consumer groups of one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import CommitOffsets, CommitRefusal, CommitResult, Start
from broker_app.partition.groups import ConsumerGroup, ConsumerGroups, commit_error, refusal
from myqueue.contract.errors import IllegalGeneration, OffsetOutOfRange

if TYPE_CHECKING:
    from myqueue.contract.errors import QueueError


class Partition:
    """A table over ten messages."""

    def __init__(self) -> None:
        self.groups = ConsumerGroups()
        self.log_start_offset, self.next_offset = 0, 10
        self.index = 0

    def commit(
        self, generation: int, offset: int | None = None, *, group: str = "g", start: str = ""
    ) -> CommitResult:
        self.index += 1
        return self.groups.commit(
            CommitOffsets(group, generation, offset, Start(start or "earliest")),
            log_start_offset=self.log_start_offset,
            next_offset=self.next_offset,
            index=self.index,
        )


@pytest.fixture
def partition() -> Partition:
    return Partition()


def test_new_group_begins_where_it_is_told(partition: Partition) -> None:
    partition.log_start_offset = 3
    assert partition.commit(1) == CommitResult(1, 3)
    assert partition.commit(1, group="late", start="latest") == CommitResult(1, 10)
    assert partition.commit(1, 7, group="there", start="latest") == CommitResult(1, 7)
    assert [name for name, _ in partition.groups.rows()] == ["g", "late", "there"]


def test_known_group_stays_whatever_start_says(partition: Partition) -> None:
    partition.commit(1, 4)
    assert partition.commit(2, start="latest") == CommitResult(2, 4)


def test_commit_moves_forth_and_back(partition: Partition) -> None:
    for offset in (4, 10, 0, 10):
        assert partition.commit(1, offset) == CommitResult(1, offset)
    assert partition.commit(1) == CommitResult(1, 10)


def test_highest_generation_is_kept_and_lower_ones_change_nothing(partition: Partition) -> None:
    partition.commit(3, 4)
    before = partition.groups.rows()
    for offset in (None, 9, 99, -1):
        place = partition.commit(2, offset)
        assert place == CommitResult(3, 4, refused=CommitRefusal.GENERATION)
    assert partition.groups.rows() == before
    assert partition.commit(3, 5) == CommitResult(3, 5), "the known one still commits"
    assert partition.commit(7) == CommitResult(7, 5)
    assert partition.commit(3, 6).refused is CommitRefusal.GENERATION


@pytest.mark.parametrize("offset", [-1, 11])
def test_offset_outside_the_partition_changes_nothing(partition: Partition, offset: int) -> None:
    assert partition.commit(1, offset).refused is CommitRefusal.OFFSET
    assert "g" not in partition.groups
    partition.commit(1, 4)
    assert partition.commit(2, offset) == CommitResult(1, 4, refused=CommitRefusal.OFFSET)
    assert partition.commit(1, 5) == CommitResult(1, 5), "nor did generation 2 become known"


def test_what_retention_took_is_told_once(partition: Partition) -> None:
    partition.commit(1, 2)
    partition.log_start_offset = 6
    assert partition.commit(1, None) == CommitResult(1, 6, missed=4)
    assert partition.commit(2, None) == CommitResult(2, 6)


def test_refused_commit_tells_nothing_of_what_is_missed(partition: Partition) -> None:
    partition.commit(2, 2)
    partition.log_start_offset = 6
    assert partition.commit(1) == CommitResult(2, 6, refused=CommitRefusal.GENERATION)
    assert partition.commit(2).missed == 4, "the member that goes on is told"


def test_commit_below_the_log_start_is_moved_up(partition: Partition) -> None:
    partition.commit(1, 2)
    partition.log_start_offset = 6
    assert partition.commit(1, 5) == CommitResult(1, 6, missed=1)
    assert partition.commit(1) == CommitResult(1, 6)


def test_commit_past_the_log_start_has_missed_nothing(partition: Partition) -> None:
    partition.commit(1, 2)
    partition.log_start_offset = 6
    assert partition.commit(1, 8) == CommitResult(1, 8), "its member had read them before"
    assert partition.commit(1) == CommitResult(1, 8)


def test_new_group_has_missed_nothing(partition: Partition) -> None:
    partition.log_start_offset = 6
    assert partition.commit(1) == CommitResult(1, 6)
    assert partition.commit(1, start="latest", group="late") == CommitResult(1, 10)


def test_forgotten_group_is_another_one_when_it_comes_back(partition: Partition) -> None:
    partition.commit(5, 4)
    partition.commit(5, 6)
    first = partition.groups.get("g")
    assert first is not None
    assert first.origin == 1
    assert partition.groups.forget("g")
    assert not partition.groups.forget("g")
    assert len(partition.groups) == 0
    assert partition.commit(1) == CommitResult(1, 0), "no earlier generation fences it"
    again = partition.groups.get("g")
    assert again is not None
    assert again.origin == 3


def test_groups_are_apart(partition: Partition) -> None:
    partition.commit(3, 4, group="one")
    assert partition.commit(1, 2, group="two") == CommitResult(1, 2)
    partition.groups.forget("one")
    assert partition.groups.get("two") == ConsumerGroup(1, 2, origin=2)


def test_stored_rows_are_taken_over(partition: Partition) -> None:
    partition.commit(3, 4, group="one")
    partition.commit(1, 2, group="two")
    copy = ConsumerGroups()
    copy.load(partition.groups.rows())
    assert copy.rows() == partition.groups.rows()


@pytest.mark.parametrize(
    ("refused", "error", "details"),
    [
        (CommitRefusal.GENERATION, IllegalGeneration, {"generation": 4}),
        (CommitRefusal.OFFSET, OffsetOutOfRange, {"log_start_offset": 2, "high_watermark": 9}),
    ],
)
def test_each_refusal_has_its_error(
    refused: CommitRefusal, error: type[QueueError], details: dict[str, Any]
) -> None:
    commit = CommitOffsets("g", 3, 17)
    made = commit_error(commit, refused, generation=4, log_start_offset=2, next_offset=9)
    assert type(made) is error
    assert made.details == details


def test_nothing_speaks_against_a_commit_of_the_known_generation() -> None:
    group = ConsumerGroup(3, 4, origin=1)
    assert refusal(group, CommitOffsets("g", 3, 9), next_offset=9) is None
    assert refusal(None, CommitOffsets("g", 0), next_offset=0) is None
