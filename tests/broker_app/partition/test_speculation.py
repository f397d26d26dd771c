"""The view of what is in the log and not applied."""

from __future__ import annotations

import pytest

from broker_app.partition.speculation import (
    AppendEffect,
    CommandEffect,
    OpenGroup,
    Speculation,
    is_deduplicated,
)
from tests.broker_app.replica import batch_of

TERM = 3


class View(Speculation):
    """Takes the effects of term 3 from index 1 on."""

    def __init__(self) -> None:
        super().__init__()
        self.index = 0

    def batch(self, count: int = 1, timestamp: int = 1, **stamp: object) -> None:
        header = batch_of(*"x" * count, **stamp).header  # type: ignore[arg-type]
        self._next(AppendEffect(header, timestamp))

    def move(self, consumer_id: int, offset: int, digest: bytes = b"", clock_ms: int = 0) -> None:
        self._next(CommandEffect(clock_ms, 1, consumer_id, offset, digest))

    def commit(self, group: str) -> None:
        self._next(CommandEffect(0, 1, group=group))

    def _next(self, effect: AppendEffect | CommandEffect) -> None:
        self.index += 1
        self.extend(effect, (self.index, TERM))


@pytest.fixture
def view() -> View:
    return View()


def is_empty(view: Speculation) -> bool:
    clients = (view.producers, view.cursors, view.groups)
    tables = (*clients, view.produce_requests, view.pop_requests)
    return (
        not any(tables) and len(view) == view.record_count == view.timestamp == view.clock_ms == 0
    )


def test_messages_in_flight_are_counted_until_they_are_applied(view: View) -> None:
    for count in (2, 3):
        view.batch(count)
    assert view.record_count == 5
    view.release((1, TERM))
    assert view.record_count == 3
    view.release((2, TERM))
    assert is_empty(view)


def test_times_are_those_of_the_last_entry_in_flight(view: View) -> None:
    view.batch(timestamp=70)
    view.move(5, 1, clock_ms=9)
    view.batch(timestamp=80)
    assert (view.timestamp, view.clock_ms) == (80, 9)
    view.release((1, TERM))
    assert (view.timestamp, view.clock_ms) == (80, 9)


def test_producer_is_known_until_its_last_batch_is_applied(view: View) -> None:
    view.batch(2, sequence=0)
    view.batch(1, sequence=2)
    view.batch(1, sequence=0, producer_id=2)
    assert view.producers[1].next_sequence == 3
    assert view.producers[1].find(0, 2) == (1, TERM)
    view.release((1, TERM))
    assert view.producers[1].find(0, 2) is None
    assert view.producers[1].find(2, 1) == (2, TERM)
    view.release((2, TERM))
    assert set(view.producers) == {2}


def test_only_batches_of_the_current_epoch_and_of_the_same_length_are_found(view: View) -> None:
    view.batch(2, sequence=0)
    view.batch(1, sequence=0, epoch=1)
    producer = view.producers[1]
    assert (producer.epoch, producer.next_sequence) == (1, 1)
    assert producer.find(0, 1) == (2, TERM)
    for sequence, count in ((0, 2), (1, 1), (2, 1)):
        assert producer.find(sequence, count) is None


def test_cursor_is_where_the_last_move_leaves_it_until_all_are_applied(view: View) -> None:
    view.move(5, 3, b"one")
    view.move(5, 1)
    view.move(6, 9)
    assert view.cursors[5].offset == 1
    assert view.pop_requests == {(5, b"one"): (1, TERM)}
    view.release((1, TERM))
    assert (view.cursors[5].offset, view.pop_requests) == (1, {})
    view.release((2, TERM))
    assert set(view.cursors) == {6}


def test_request_ids_are_known_by_client_until_applied(view: View) -> None:
    view.batch(request_id="r")
    view.batch(request_id="r", producer_id=2)
    assert sorted(client for client, _ in view.produce_requests) == [1, 2]
    view.release((1, TERM))
    assert [client for client, _ in view.produce_requests] == [2]


def test_commands_of_no_consumer_and_batches_of_nobody_leave_no_trace(view: View) -> None:
    view.move(0, 0)
    view.batch(producer_id=0, request_id="r")
    view.batch()
    assert not view.cursors
    assert not view.produce_requests
    assert not view.producers
    for index in (1, 2, 3):
        assert view.release((index, TERM)) is not None
    assert is_empty(view)


def test_group_is_in_flight_until_its_last_commit_is_applied(view: View) -> None:
    for name in ("one", "two", "one"):
        view.commit(name)
    view.release((1, TERM))
    assert view.groups == {"one": OpenGroup(0, 1), "two": OpenGroup(0, 1)}
    view.release((2, TERM))
    assert view.groups == {"one": OpenGroup(0, 1)}
    view.release((3, TERM))
    assert is_empty(view)
    view.commit("one")
    view.clear()
    assert is_empty(view)


def test_entry_below_the_view_changes_nothing(view: View) -> None:
    view.index = 4
    view.batch(sequence=0)
    assert view.release((4, 2)) is None
    assert view.producers[1].find(0, 1) == (5, TERM)


@pytest.mark.parametrize("position", [(1, TERM + 1), (1, TERM - 1), (2, TERM)])
def test_another_entry_in_the_place_of_the_first_empties_the_view(
    view: View, position: tuple[int, int]
) -> None:
    view.batch(2, sequence=0)
    view.batch(request_id="r")
    view.move(5, 1, b"one", clock_ms=4)
    assert view.release(position) is None
    assert is_empty(view)


def test_empty_view_releases_nothing(view: View) -> None:
    assert view.release((1, TERM)) is None
    view.batch()
    view.clear()
    assert is_empty(view)
    assert view.release((1, TERM)) is None


def test_deduplicated_by_request_id_are_unsequenced_batches_of_a_producer() -> None:
    assert is_deduplicated(batch_of("x", request_id="r").header)
    assert not is_deduplicated(batch_of("x").header)
    assert not is_deduplicated(batch_of("x", request_id="r", producer_id=0).header)
    assert not is_deduplicated(batch_of("x", request_id="r", sequence=0).header)
