"""Shares of the memory budget that remember the most that they ever held."""

from __future__ import annotations

from http_base.memory_budget import MemoryBudget, MemoryShare


class WatchedShare(MemoryShare):
    """A share whose peak a test can ask for."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        super().__init__(name, limit_bytes)
        self.peak_bytes = 0
        """Most that were ever held."""

    def move(self, change_bytes: int) -> None:
        """Count, and note the peak."""
        super().move(change_bytes)
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)


def watched_budget(limit_bytes: int, *, shrunk_by: int = 1) -> MemoryBudget:
    """Return a budget of watched shares, each smaller by a factor than the product allows."""
    budget = MemoryBudget(limit_bytes)
    for share in budget.shares:
        setattr(budget, share.name, WatchedShare(share.name, share.limit_bytes // shrunk_by))
    return budget
