"""What all tests share."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

# Deadlines measure the machine, not the code.
settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")

LONGEST_MARKS = ("postgres", "simulation")
"""Of the files that take longest, the longest first."""


def _rank(item: pytest.Item) -> int:
    ranks = (n for n, mark in enumerate(LONGEST_MARKS) if item.get_closest_marker(mark))
    return next(ranks, len(LONGEST_MARKS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: a long file that comes last keeps all cores but one idle."""
    items.sort(key=_rank)


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of every later search for garbage.

    Thousands of tests are a heap that takes a third of a second to search, and some tests ask for
    a search each time to see that they leave nothing behind.
    """
    gc.collect()
    gc.freeze()
