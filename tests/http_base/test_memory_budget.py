"""The shares of a budget: who is let in, and who has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_base.memory_budget import BUDGET_BYTES, BUDGET_BYTES_MIN, MemoryBudget, MemoryShare
from myqueue.contract.records import MAX_BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence


def fill(share: MemoryShare, wishes: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Let owners take what is admitted of (owner, bytes); return what each one holds."""
    held: dict[int, int] = {}
    for owner, size in wishes:
        if share.admits(size, held_bytes=held.get(owner, 0)):
            share.move(size)
            held[owner] = held.get(owner, 0) + size
    return held


def test_one_greedy_owner_gets_half_and_the_next_ones_find_room() -> None:
    share = MemoryShare("bodies", 1_000)
    assert fill(share, [(1, 10)] * 200) == {1: 500}
    assert fill(share, [(2, 10)] * 200) == {2: 250}
    assert share.admits(120)
    assert share.refusals == 150 + 175


def test_many_greedy_owners_get_the_same() -> None:
    share = MemoryShare("bodies", 10_000)
    held = fill(share, [(owner, 10) for _ in range(1_000) for owner in range(9)])
    assert set(held.values()) == {1_000}
    assert share.admits(500)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400))))
def test_no_order_of_wishes_takes_more_than_there_is(wishes: list[tuple[int, int]]) -> None:
    share = MemoryShare("bodies", 1_000)
    held = fill(share, wishes)
    assert share.used_bytes == sum(held.values())
    assert share.used_bytes <= share.limit_bytes
    share.move(-share.used_bytes)
    assert share.used_bytes == 0


def test_more_given_back_than_taken_is_noticed() -> None:
    share = MemoryShare("bodies", 1_000)
    share.move(10)
    with pytest.raises(AssertionError):
        share.move(-11)


@pytest.mark.parametrize("limit_bytes", [BUDGET_BYTES_MIN, BUDGET_BYTES])
def test_the_shares_make_the_budget_and_each_takes_the_largest_batch(limit_bytes: int) -> None:
    budget = MemoryBudget(limit_bytes)
    assert sum(share.limit_bytes for share in budget.shares) == limit_bytes
    assert len({share.name for share in budget.shares}) == len(budget.shares)
    assert all(share.admits(MAX_BATCH_BYTES) for share in budget.shares)


def test_a_budget_without_room_for_one_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        MemoryBudget(BUDGET_BYTES_MIN - 1)
