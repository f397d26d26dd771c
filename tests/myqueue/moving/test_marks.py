from __future__ import annotations

from collections.abc import Iterator

import pytest

from myqueue import Producer, Record
from myqueue.contract.records import MAX_HEADERS
from myqueue.moving import marks as marks_module
from myqueue.moving.marks import COPIED_FROM, Copied, Mark, Marks
from myqueue.moving.place import Place
from myqueue.results import Message
from myqueue.testing.queue import InMemoryQueue

MARKS = Marks("copy", "orders", 0)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryQueue]:
    monkeypatch.setattr(marks_module, "LOOK_BACK", 4)
    with InMemoryQueue(["target"]) as queue:
        yield queue


def copied(queue: InMemoryQueue, sources: list[int | None]) -> Copied:
    """Return what is copied where these offsets of the source were; None is a foreign message."""
    with Producer("target", queue.address) as producer:
        for source in sources:
            mark = None if source is None else MARKS.headers(None, source)
            producer.enqueue("target", "x", headers=mark)
    return Copied(Place("target", queue.address), ("target", 0), MARKS)


def test_a_message_says_where_it_comes_from() -> None:
    headers = MARKS.headers({"a": b"b"}, 7)
    assert headers == {"a": b"b", COPIED_FROM: "copy/orders/0/7"}
    assert MARKS.source_of(Message("target", 0, 1, "", headers=headers)) == 7


@pytest.mark.parametrize(
    "said",
    [
        "other/orders/0/7",
        "copy/orders/1/7",
        "copy/orders/0/",
        "copy/orders/0/-7",
        "copy/orders/0/\u0667",
        "copy/orders/0/" + "7" * 19,
        b"copy/orders/0/7",
        None,
    ],
)
def test_what_this_copy_did_not_write_has_no_mark(said: str | bytes | None) -> None:
    headers = None if said is None else {COPIED_FROM: said}
    assert MARKS.source_of(Message("target", 0, 1, "", headers=headers)) == -1


def test_a_message_full_of_headers_is_copied_without_a_mark() -> None:
    full: dict[str, str | bytes] = {str(number): "" for number in range(MAX_HEADERS)}
    assert MARKS.headers(full, 1) == full
    again = {**dict(list(full.items())[1:]), COPIED_FROM: "earlier/orders/0/5"}
    assert (MARKS.headers(again, 1) or {})[COPIED_FROM] == "copy/orders/0/1"


@pytest.mark.parametrize(
    ("sources", "last"),
    [
        ([], None),
        ([None, None], None),
        ([3, 4, 5], Mark(2, 5)),
        ([3, 4, *[None] * 20], Mark(1, 4)),
        ([3, 4, 5, 3, 4], Mark(2, 5)),
    ],
)
def test_the_target_says_how_far_a_copy_came(
    queue: InMemoryQueue, sources: list[int | None], last: Mark | None
) -> None:
    assert copied(queue, sources).last() == last


@pytest.mark.parametrize(
    "sources",
    [
        [0, 1, 2, 3],
        [10, 11, 15, 16, 20],
        [None, 0, None, None, 1, 2, None],
        [0, 1, 2, 1, 2, 3, 4, 3, 4, 5],
        [0, 1, 2, 3, 4, 5, 1, 2, 6, 7],
        [None] * 5,
        [],
    ],
)
def test_nothing_at_or_behind_a_place_is_missed(
    queue: InMemoryQueue, sources: list[int | None]
) -> None:
    found = copied(queue, sources)
    present = sorted({one for one in sources if one is not None})
    for wanted in range(25):
        place = found.place_of(wanted)
        behind = {one for one in sources[place:] if one is not None}
        assert {one for one in present if one >= wanted} <= behind
        before = [one for one in sources[:place] if one is not None]
        assert all(one < wanted for one in before)


def test_a_program_reads_on_where_it_was(queue: InMemoryQueue) -> None:
    with Producer("target", queue.address) as producer:
        for base in range(0, 5_000, 1_000):
            records = [
                Record(str(one), headers=MARKS.headers(None, one))
                for one in range(base, base + 1_000)
            ]
            producer.produce_many("target", records)
    found = Copied(Place("target", queue.address), ("target", 0), MARKS)
    assert [found.place_of(one) for one in (0, 1, 999, 1_000, 4_321, 5_000)] == [
        *(0, 1, 999, 1_000, 4_321, 5_000)
    ]
