"""Warnings in the program's log: what costs it something, and what goes wrong again and again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myqueue.transport.clock import Clock

logger = logging.getLogger(__name__)
AGAIN_S = 60.0
"""How long a cause that was told of is not told of again."""


class Complaints:
    """Warnings in the program's log, each cause once a minute at most. Safe from several threads.

    Two threads at once may both tell of a cause; none is left out.

    Args:
        logger: where they go.
        clock: time.
    """

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._silent_until_s: dict[str, float] = {}

    def warn(self, cause: str, text: str, *args: object) -> None:
        """Tell of something, unless that was done a short time ago.

        Args:
            cause: what makes it the same.
            text: for the log, as of `logging`.
            args: its arguments.
        """
        now_s = self._clock.monotonic()
        if now_s < self._silent_until_s.get(cause, float("-inf")):
            return
        self._silent_until_s[cause] = now_s + AGAIN_S
        self._logger.warning(text, *args)

    def forget(self, cause: str) -> None:
        """Tell of a cause at once when it comes again: it was over."""
        self._silent_until_s.pop(cause, None)


def warn(text: str, *args: object) -> None:
    """Tell the program's log what costs it something."""
    logger.warning(text, *args)
