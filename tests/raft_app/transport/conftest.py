"""What the tests of the transport share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def only_own_garbage() -> None:
    """Take away what earlier files left, and keep the rest out of the search after each scenario.

    To search all of it each time would take longer than most scenarios.
    """
    gc.collect()
    gc.freeze()
