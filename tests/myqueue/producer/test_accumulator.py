from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.records import HEADER_BYTES, Record, encode_batch
from myqueue.producer.accumulator import OVERHEAD_BYTES, Accumulator, size_bytes_of, total_bytes_of
from myqueue.producer.futures import DeliveryFuture, Outcome
from myqueue.producer.gathering import HOLD_S_MAX
from myqueue.producer.lanes import Batch

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
NAMES = st.text(st.characters(exclude_categories=["Cs"]))
RECORDS = st.builds(
    Record,
    TEXTS,
    st.none() | TEXTS,
    st.none() | st.dictionaries(NAMES, TEXTS, min_size=1, max_size=64),
    st.integers(0, 1 << 62),
)


class Time:
    """A clock that is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def accumulator(time: Time | None = None, **limits: int) -> Accumulator:
    settings = {"buffer_bytes": 1 << 20, "batch_messages": 3, "batch_bytes": 500, **limits}
    return Accumulator(**settings, now_s=time or Time(), patience_s=20.0)


def put(buffer: Accumulator, value: str, partition: int = 0) -> bool:
    return buffer.put(("logs", partition), Record(value), DeliveryFuture())


def call(buffer: Accumulator, value: str) -> bool:
    """Add a message whose caller waits for it."""
    return buffer.put(("logs", 0), Record(value), Outcome(), has_caller=True)


def take(buffer: Accumulator) -> list[Batch]:
    return buffer.take(lambda topic: 7)


def values(batch: Batch) -> list[str | bytes]:
    return [record.value for record in batch.records]


def acknowledge(buffer: Accumulator, batch: Batch) -> bool:
    buffer.lane(batch).acknowledged(batch)
    return buffer.settled(batch)


def test_what_arrives_while_a_batch_is_out_is_the_next_batch() -> None:
    buffer = accumulator()
    assert put(buffer, "a")
    (first,) = take(buffer)
    assert not put(buffer, "b")
    assert not put(buffer, "c")
    assert take(buffer) == []
    assert acknowledge(buffer, first)
    (second,) = take(buffer)
    assert (values(first), values(second)) == (["a"], ["b", "c"])
    assert [batch.deadline_s for batch in (first, second)] == [120.0, 120.0]


def test_a_full_batch_goes_out_beside_others() -> None:
    buffer = accumulator()
    put(buffer, "first")
    take(buffer)
    assert [put(buffer, f"{number}") for number in range(4)] == [False, False, True, True]
    assert [values(batch) for batch in take(buffer)] == [["0", "1", "2"]]


def test_every_partition_goes_out_by_itself() -> None:
    buffer = accumulator()
    for partition in (0, 1, 0):
        put(buffer, f"{partition}", partition)
    assert [values(batch) for batch in take(buffer)] == [["0", "0"], ["1"]]


def test_a_batch_ends_at_its_bytes_and_a_large_message_goes_alone() -> None:
    buffer = accumulator(batch_messages=100, buffer_bytes=1 << 20)
    for size in (200, 200, 600, 1):
        put(buffer, "x" * size)
    assert [len(batch.records[0].value) for batch in take(buffer)] == [200, 200, 600]


@given(st.lists(RECORDS, min_size=1, max_size=20))
def test_messages_never_take_more_in_a_batch_than_they_count_for(records: list[Record]) -> None:
    assert len(encode_batch(records)) <= HEADER_BYTES + sum(map(size_bytes_of, records))


@given(st.lists(RECORDS, min_size=1, max_size=20) | st.lists(TEXTS.map(Record), min_size=1))
def test_messages_count_together_for_what_each_counts_for(records: list[Record]) -> None:
    assert total_bytes_of(records) == sum(map(size_bytes_of, records))


def test_large_headers_and_keys_end_a_batch_too() -> None:
    limit_bytes = 64 << 10
    buffer = accumulator(batch_messages=1_000, batch_bytes=limit_bytes)
    record = Record("x", "k" * 8_000, {"a": "y" * 8_000, "b": "漢" * 2_000})
    for _ in range(20):
        buffer.put(("logs", 0), record, DeliveryFuture())
    batches = take(buffer)
    assert [len(batch.records) for batch in batches] == [2] * 5
    assert all(len(encode_batch(batch.records)) <= limit_bytes for batch in batches)


def test_room_is_counted_in_bytes_of_all_texts() -> None:
    buffer = accumulator(buffer_bytes=1_000)
    put(buffer, "漢" * 200)
    assert buffer.held_bytes == OVERHEAD_BYTES + 600
    assert buffer.put(("logs", 0), Record("", "漢" * 100), DeliveryFuture()) is None
    assert buffer.put(("logs", 0), Record("", None, {"a": b"x" * 300}), DeliveryFuture()) is None
    assert buffer.put(("logs", 0), Record("漢" * 80), DeliveryFuture()) is not None


def test_room_is_bounded_until_a_batch_is_settled() -> None:
    buffer = accumulator(buffer_bytes=1_000)
    assert buffer.has_room(10_000)
    put(buffer, "x" * (600 - OVERHEAD_BYTES))
    assert buffer.has_room(400)
    assert not buffer.has_room(401)
    assert buffer.put(("logs", 0), Record("x" * 400), DeliveryFuture()) is None
    (batch,) = take(buffer)
    assert not buffer.has_room(401)
    assert not acknowledge(buffer, batch)
    assert batch.settled
    assert buffer.has_room(10_000)


def test_a_batch_alone_is_stamped_only_where_nothing_is_before_it() -> None:
    buffer = accumulator()
    alone = Batch(("logs", 0), deadline_s=1.0, records=[Record("a")], size_bytes=65)
    assert buffer.put_alone(alone, 7)
    assert alone.stamp == (7, 0, 0)
    assert not buffer.put_alone(Batch(("logs", 0), deadline_s=1.0, records=[Record("b")]), 7)
    assert buffer.put_alone(Batch(("logs", 1), deadline_s=1.0, records=[Record("b")]), 7)
    assert len(buffer.held()) == 2


def test_giving_up_leaves_what_is_out() -> None:
    buffer = accumulator()
    put(buffer, "out")
    (out,) = take(buffer)
    put(buffer, "waiting")
    waiting, left = buffer.give_up()
    assert [values(batch) for batch in waiting] == [["waiting"]]
    assert left == [out]
    assert buffer.held_bytes == out.size_bytes
    assert not acknowledge(buffer, out)
    assert buffer.held_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 600)), max_size=60), st.randoms())
def test_nothing_is_lost_and_order_is_kept(added: list[tuple[int, int]], chance: object) -> None:
    buffer = accumulator(batch_messages=4, buffer_bytes=1 << 20)
    out: list[Batch] = []
    seen: dict[int, list[str]] = {}

    def take_some() -> None:
        for batch in take(buffer):
            out.append(batch)
            texts = [str(value).partition(".")[0] for value in values(batch)]
            seen.setdefault(batch.where[1], []).extend(texts)

    for number, (partition, size) in enumerate(added):
        put(buffer, f"{number}." + "x" * size, partition)
        take_some()
        if out and chance.random() < 0.3:  # type: ignore[attr-defined]
            acknowledge(buffer, out.pop(chance.randrange(len(out))))  # type: ignore[attr-defined]
    take_some()
    while out:
        acknowledge(buffer, out.pop())
        take_some()
    assert buffer.held_bytes == 0
    for partition in {partition for partition, _ in added}:
        mine = [f"{n}" for n, (where, _) in enumerate(added) if where == partition]
        assert seen[partition] == mine


def test_a_topic_without_a_registration_holds_nothing_up() -> None:
    buffer = accumulator()
    for topic in ("logs", "gone", "more"):
        buffer.put((topic, 0), Record(topic), DeliveryFuture())

    def producer_id(topic: str) -> int:
        if topic == "gone":
            raise UnauthorizedException
        return 7

    assert [(batch.where[0], batch.stamp.producer_id) for batch in buffer.take(producer_id)] == [
        ("logs", 7),
        ("gone", 0),
        ("more", 7),
    ]


def held(time: Time, callers: int) -> Accumulator:
    """Return a buffer where a batch of so many callers has just been answered, after a second."""
    buffer = accumulator(time, batch_messages=100, batch_bytes=10_000)
    put(buffer, "first")
    (first,) = take(buffer)
    for number in range(callers):
        call(buffer, f"{number}")
    assert acknowledge(buffer, first)
    (batch,) = take(buffer)
    time.now_s += 1.0
    assert not acknowledge(buffer, batch)
    return buffer


def test_callers_that_come_back_leave_together() -> None:
    buffer = held(Time(), callers=4)
    assert not buffer.is_idle(("logs", 0)), "a caller may not go ahead of the others"
    assert [call(buffer, value) for value in "abcd"] == [False, False, False, True]
    (batch,) = take(buffer)
    assert values(batch) == ["a", "b", "c", "d"]
    assert buffer.held_until_s is None


def test_callers_that_waited_leave_with_those_that_come_back() -> None:
    time = Time()
    buffer = accumulator(time, batch_messages=100, batch_bytes=10_000)
    call(buffer, "0")
    call(buffer, "1")
    (batch,) = take(buffer)
    call(buffer, "2")
    time.now_s += 1.0
    assert not acknowledge(buffer, batch), "two may come back"
    assert take(buffer) == []
    assert [call(buffer, value) for value in "34"] == [False, True]
    assert [values(batch) for batch in take(buffer)] == [["2", "3", "4"]]


def test_callers_that_came_in_time_leave_without_the_others() -> None:
    time = Time()
    buffer = held(time, callers=4)
    until_s = buffer.held_until_s
    assert until_s == time.now_s + HOLD_S_MAX
    call(buffer, "a")
    assert take(buffer) == []
    time.now_s = until_s
    assert [values(batch) for batch in take(buffer)] == [["a"]]
    assert buffer.held_until_s is None


def test_a_hold_in_which_nobody_comes_ends_too() -> None:
    time = Time()
    buffer = held(time, callers=4)
    time.now_s += 1.0
    assert take(buffer) == []
    assert buffer.held_until_s is None
    assert buffer.is_idle(("logs", 0))


def test_a_message_without_a_caller_ends_a_hold() -> None:
    buffer = held(Time(), callers=4)
    call(buffer, "a")
    assert put(buffer, "b")
    assert [values(batch) for batch in take(buffer)] == [["a", "b"]]


def test_a_whole_batch_ends_a_hold() -> None:
    buffer = held(Time(), callers=4)
    call(buffer, "a")
    buffer.put_whole(Batch(("logs", 0), deadline_s=1.0, records=[Record("b")]))
    assert [values(batch) for batch in take(buffer)] == [["a"]]


def test_a_full_batch_is_not_held() -> None:
    buffer = held(Time(), callers=4)
    assert not call(buffer, "a" * 3_000)
    assert call(buffer, "b" * 9_000)
    assert [len(batch.records) for batch in take(buffer)] == [1]


def test_giving_up_ends_a_hold() -> None:
    buffer = held(Time(), callers=4)
    call(buffer, "a")
    ([waiting], _) = buffer.give_up()
    assert values(waiting) == ["a"]
    assert buffer.held_until_s is None
