"""Consumer groups counted by address."""

from __future__ import annotations

import pytest

from broker_app import group_origins
from broker_app.group_origins import GroupOrigins
from myqueue.contract.errors import TooManyGroups


class State:
    """A partition that knows some groups."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def knows_group(self, name: str) -> bool:
        return name in self.known


@pytest.fixture
def state() -> State:
    return State()


def admit(origins: GroupOrigins, state: State, name: str, address: str = "a", group: int = 7):
    origins.admit(state, group, name, address)  # type: ignore[arg-type]
    state.known.add(name)


def test_an_address_makes_so_many_groups_of_each_partition_and_uses_any(state: State) -> None:
    origins = GroupOrigins(2)
    admit(origins, state, "x")
    admit(origins, state, "y")
    with pytest.raises(TooManyGroups, match=r"clients at a made 2 .* no room for 'z'") as caught:
        admit(origins, state, "z")
    assert caught.value.details == {"limit": 2, "address": "a"}
    admit(origins, state, "x")
    admit(origins, state, "z", address="b")
    admit(origins, State(), "z", group=8)
    admit(origins, state, "of the cluster", address="")


def test_groups_that_are_gone_make_room(state: State) -> None:
    origins = GroupOrigins(2)
    admit(origins, state, "x")
    admit(origins, state, "y")
    state.known.remove("x")
    admit(origins, state, "z")
    with pytest.raises(TooManyGroups):
        admit(origins, state, "w")


def test_a_group_that_is_tried_again_counts_once(state: State) -> None:
    origins = GroupOrigins(1)
    for _ in range(3):
        origins.admit(state, 7, "x", "a")  # type: ignore[arg-type]


def test_the_oldest_pairs_are_forgotten(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_origins, "COUNTED_MAX", 3)
    origins = GroupOrigins(1)
    for number in range(10):
        admit(origins, state, f"x{number}", address=f"a{number}")
    assert len(origins._made) == 3
