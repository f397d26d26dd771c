from __future__ import annotations

from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from myqueue.accumulator import Accumulator, Waiting
from myqueue.records import Record


def waiting(value: str, size_bytes: int = 10) -> Waiting:
    return Waiting(Record(value), Future(), size_bytes)


def accumulator(**limits: int) -> Accumulator:
    return Accumulator(**{"buffer_bytes": 100, "batch_messages": 3, "batch_bytes": 50, **limits})


def values(taken: tuple[tuple[str, int], list[Waiting]] | None) -> list[str | bytes]:
    assert taken is not None
    return [one.record.value for one in taken[1]]


def test_what_waits_for_a_partition_is_one_batch() -> None:
    lanes = accumulator()
    for value, partition in (("a", 0), ("b", 1), ("c", 0)):
        lanes.add(("logs", partition), waiting(value))
    assert lanes.holds(("logs", 0))
    assert values(lanes.take()) == ["a", "c"]
    assert not lanes.holds(("logs", 0))
    assert values(lanes.take()) == ["b"]
    assert lanes.take() is None


def test_partitions_take_turns() -> None:
    lanes = accumulator()
    for number in range(5):
        lanes.add(("logs", 0), waiting(f"{number}"))
    lanes.add(("logs", 1), waiting("other"))
    assert values(lanes.take()) == ["0", "1", "2"]
    assert values(lanes.take()) == ["other"]
    assert values(lanes.take()) == ["3", "4"]


def test_a_batch_ends_at_its_bytes_and_a_large_message_goes_alone() -> None:
    lanes = accumulator()
    for value, size_bytes in (("a", 30), ("b", 30), ("large", 70), ("c", 1)):
        lanes.add(("logs", 0), waiting(value, size_bytes))
    assert [values(lanes.take()) for _ in range(4)] == [["a"], ["b"], ["large"], ["c"]]


def test_room_is_bounded_but_an_empty_buffer_takes_anything() -> None:
    lanes = accumulator()
    assert lanes.has_room(1_000)
    lanes.add(("logs", 0), waiting("a", 60))
    assert lanes.has_room(40)
    assert not lanes.has_room(41)
    lanes.take()
    assert lanes.has_room(1_000)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60))))
def test_nothing_is_lost_and_order_is_kept(added: list[tuple[int, int]]) -> None:
    lanes = accumulator()
    for number, (partition, size_bytes) in enumerate(added):
        lanes.add(("logs", partition), waiting(f"{number}", size_bytes))
    assert lanes.waiting_bytes == sum(size for _, size in added)
    taken: dict[int, list[int]] = {}
    while (batch := lanes.take()) is not None:
        taken.setdefault(batch[0][1], []).extend(int(one.record.value) for one in batch[1])
    assert lanes.waiting_bytes == lanes.waiting_messages == 0
    for partition in {partition for partition, _ in added}:
        mine = [number for number, (where, _) in enumerate(added) if where == partition]
        assert taken[partition] == mine


def test_everything_can_be_taken_at_once() -> None:
    lanes = accumulator()
    for partition in (0, 1):
        lanes.add(("logs", partition), waiting(f"{partition}"))
    assert {one.record.value for one in lanes.take_all()} == {"0", "1"}
    assert lanes.waiting_messages == 0
