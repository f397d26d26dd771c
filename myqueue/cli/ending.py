"""The end of a command that runs until it is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GLANCE_S = 0.5
"""How long a wait of such a command lasts before it looks whether it was told to end."""


@contextmanager
def orderly_end() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether SIGTERM has come; the command then ends by itself.

    The signal interrupts nothing, so that what is in hand is dealt with. A second one has the
    system's usual effect. In another thread than the main one, where Python sets no handlers,
    SIGTERM keeps the effect that it has.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told.is_set
        return

    def tell(*_: object) -> None:
        told.set()
        signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
