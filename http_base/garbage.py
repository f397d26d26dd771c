"""Python's search for garbage, which need not run while large data is decoded."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collection_paused() -> Iterator[None]:
    """Look for no garbage meanwhile, in any thread.

    Each 700 new lists or maps start a search; what a decoder has built so far is no garbage, and is
    searched again and again: for eleven of the twelve parts of the time that a MiB of empty lists
    takes.
    """
    if not gc.isenabled():  # somebody else sees to it
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
