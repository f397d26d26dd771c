"""What all tests share."""

from __future__ import annotations

import gc

from hypothesis import settings

# Deadlines measure the machine, not the code.
settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of every later search for garbage.

    Thousands of tests are a heap that takes a third of a second to search, and some tests ask for
    a search each time to see that they leave nothing behind.
    """
    gc.collect()
    gc.freeze()
