"""New entries of partitions counted by address."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.conf import settings

from broker_app import client_origins
from broker_app.client_origins import ClientOrigins, Table
from broker_app.partition.limits import BrokerLimits
from http_base.calls import DirectCall, head_of, origin_of
from http_base.tokens import cluster_token
from myqueue.contract.errors import Overloaded, QueueError, TooManyGroups

NAMES: dict[Table, list[Any]] = {
    Table.GROUPS: ["x", "y", "z", "w"],
    Table.CURSORS: [1, 2, 3, 4],
    Table.PRODUCERS: [1, 2, 3, 4],
}


class State:
    """A partition that knows some entries."""

    def __init__(self) -> None:
        self.known: set[Any] = set()

    def knows_group(self, name: str) -> bool:
        return name in self.known

    knows_cursor = knows_producer = knows_group


@pytest.fixture
def state() -> State:
    return State()


def made(limit: int) -> ClientOrigins:
    return ClientOrigins(
        BrokerLimits(
            groups_per_address_max=limit,
            cursors_per_address_max=limit,
            producers_per_address_max=limit,
        )
    )


def call_from(address: str, *, through_manager: bool = False, token: str = "") -> DirectCall:
    if not through_manager:
        headers = {b"authorization": f"Bearer {token}".encode()}
        return DirectCall(head_of("", headers), b"", client_address=address)
    token = cluster_token(settings.QUEUE.cluster_secret)
    headers = {b"authorization": f"Bearer {token}".encode(), b"x-queue-origin": address.encode()}
    return DirectCall(head_of("", headers), b"", client_address="the manager's")


def admit(
    origins: ClientOrigins,
    state: State,
    name: Any,
    address: str = "a",
    *,
    table: Table = Table.GROUPS,
    group: int = 7,
    **options: Any,
) -> None:
    call = call_from(address, **options)
    address_of = partial(origin_of, call)
    origins.admit(table, state, group, name=name, address_of=address_of)  # type: ignore[arg-type]
    state.known.add(name)


@pytest.mark.parametrize("table", list(Table))
@pytest.mark.parametrize("through_manager", [False, True])
def test_an_address_makes_so_many_of_each_partition_and_uses_any(
    state: State, table: Table, through_manager: bool
) -> None:
    origins, (first, second, third, fourth) = made(2), NAMES[table]

    def admits(name: Any, state: State = state, **options: Any) -> None:
        admit(origins, state, name, table=table, through_manager=through_manager, **options)

    admits(first)
    admits(second)
    error: type[QueueError] = TooManyGroups if table is Table.GROUPS else Overloaded
    text = rf"clients at a made 2 {table.value} .* no room for .*{third}"
    with pytest.raises(error, match=text) as caught:
        admits(third)
    assert (caught.value.details["limit"], caught.value.details["address"]) == (2, "a")
    admits(first)
    admits(third, address="b")
    admits(fourth, State(), group=8)


def test_what_the_cluster_does_for_itself_has_no_limit(state: State) -> None:
    for number in range(5):
        admit(made(1), state, f"x{number}", address="", through_manager=True)


def test_whom_a_call_is_passed_on_for_is_believed_of_the_cluster_alone() -> None:
    headers = {b"authorization": b"Bearer a client's", b"x-queue-origin": b"another"}
    call = DirectCall(head_of("", headers), b"", client_address="a")
    assert origin_of(call) == "a"


def test_tables_are_counted_apart(state: State) -> None:
    origins = made(1)
    admit(origins, state, 1, table=Table.CURSORS)
    state.known.clear()
    admit(origins, state, 1, table=Table.PRODUCERS)


def test_entries_that_are_gone_make_room(state: State) -> None:
    origins = made(2)
    admit(origins, state, "x")
    admit(origins, state, "y")
    state.known.remove("x")
    admit(origins, state, "z")
    with pytest.raises(TooManyGroups):
        admit(origins, state, "w")


def test_an_entry_that_is_tried_again_counts_once(state: State) -> None:
    origins = made(1)
    for _ in range(3):
        admit(origins, state, "x")
        state.known.clear()


def test_the_oldest_are_forgotten(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_origins, "COUNTED_MAX", 3)
    origins = made(1)
    for number in range(10):
        admit(origins, state, f"x{number}", address=f"a{number}")
    assert len(origins._made) == 3
