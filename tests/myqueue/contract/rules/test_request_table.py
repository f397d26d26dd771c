"""Request ids with the offsets they got."""

from __future__ import annotations

from myqueue.contract.rules.request_table import RequestTable


def test_oldest_request_of_a_client_makes_room_for_its_next() -> None:
    table = RequestTable(per_client=2)
    for number in range(3):
        assert table.grows(1) == (number < 2)
        table.remember(1, b"%d" % number, (number, number + 1))
    table.remember(2, b"0", (9, 10))
    assert table.get((1, b"0")) is None
    assert table.get((1, b"2")) == (2, 3)
    assert len(table) == 3


def test_remembering_again_keeps_one_row_and_makes_it_the_newest() -> None:
    table = RequestTable(per_client=2)
    for digest in (b"a", b"b", b"a", b"c"):
        table.remember(1, digest, (0, 1))
    assert [key for key, _, _ in table.rows()] == [(1, b"a"), (1, b"c")]


def test_one_place_is_enough() -> None:
    table = RequestTable(per_client=1)
    for digest in (b"a", b"b"):
        table.remember(1, digest, (0, 1))
    assert [key for key, _, _ in table.rows()] == [(1, b"b")]


def test_forgotten_clients_leave_nothing_behind() -> None:
    table = RequestTable(per_client=2)
    table.remember(1, b"a", (0, 1))
    table.remember(2, b"a", (1, 2))
    table.forget_client(1)
    table.forget_client(3)
    table.remove((2, b"a"))
    assert len(table) == 0
    assert table.grows(1)


def test_loaded_table_goes_on_where_the_other_was() -> None:
    table = RequestTable(per_client=2)
    for digest in (b"a", b"b"):
        table.remember(1, digest, (0, 1))
    other = RequestTable(per_client=2)
    other.load(table.rows())
    for one in (table, other):
        one.remember(1, b"c", (1, 2))
    assert list(other.rows()) == list(table.rows())
