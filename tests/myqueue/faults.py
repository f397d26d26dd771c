"""What goes wrong with requests to the twin of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from myqueue.errors import QueueError


class DroppedError(Exception):
    """The connection is closed without an answer."""


@dataclass
class Fault:
    """What happens to a request instead of, or after, what it asks for."""

    matches: Callable[[str, str], bool]
    """(address, path) -> whether it is hit."""
    error: QueueError | None = None
    """The answer; None drops the connection."""
    applied: bool = False
    """True: the request takes effect first."""
    times: int = 1
