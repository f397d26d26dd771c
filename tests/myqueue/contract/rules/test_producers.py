"""What a partition knows of its producers."""

from __future__ import annotations

from myqueue.contract.records import BatchHeader, Record, encode_batch, read_header
from myqueue.contract.rules.producers import SEQUENCES_REMEMBERED, ProducerState, ProducerTable


def header_of(sequence: int, count: int, epoch: int = 0) -> BatchHeader:
    records = [Record("x")] * count
    return read_header(
        encode_batch(records, producer_id=9, producer_epoch=epoch, base_sequence=sequence)
    )


def table_of(*rows: tuple[int, int, int], epoch: int = 0) -> ProducerTable:
    table = ProducerTable()
    for row in rows:
        table.append(9, epoch, row)
    return table


def state_of(table: ProducerTable) -> ProducerState:
    state = table.get(9)
    assert state is not None
    return state


def test_sequences_count_messages() -> None:
    state = state_of(table_of((0, 3, 10), (3, 1, 13)))
    assert (state.epoch, state.next_sequence) == (0, 4)


def test_answer_needs_the_same_sequence_and_length() -> None:
    state = state_of(table_of((0, 3, 10), (3, 1, 20)))
    assert state.find(header_of(0, 3)) == 10
    assert state.find(header_of(3, 1)) == 20
    for sequence, count in ((0, 2), (0, 4), (1, 2), (3, 2), (4, 1)):
        assert state.find(header_of(sequence, count)) is None


def test_last_five_batches_are_remembered_oldest_first() -> None:
    state = state_of(table_of(*((number, 1, 100 + number) for number in range(8))))
    assert state.batches == tuple((number, 1, 100 + number) for number in range(3, 8))
    assert len(state.batches) == SEQUENCES_REMEMBERED == 5
    assert state.next_sequence == 8


def test_new_epoch_forgets_the_batches_of_the_one_before() -> None:
    table = table_of((0, 3, 10))
    table.append(9, 2, (0, 1, 13))
    assert state_of(table) == ProducerState(2, 1, ((0, 1, 13),))
    assert state_of(table).find(header_of(0, 3)) is None


def test_use_makes_a_producer_the_last_to_be_forgotten() -> None:
    table = table_of((0, 1, 0))
    table.append(8, 0, (0, 1, 1))
    table.read_clock(100)
    table.append(9, 0, (1, 1, 2))
    assert table.idle_since(101) == [8], "the other was used since the clock was read"
    table.read_clock(200)
    assert table.idle_since(200) == [8]
    assert table.idle_since(201) == [8, 9]
