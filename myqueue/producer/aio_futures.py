"""What is told the fate of a message in an event loop."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


class LoopFuture(asyncio.Future[T]):
    """What a batch tells its fate to; whoever awaits it may have gone."""

    @property
    def is_told(self) -> bool:
        """True when the program took the failure: as for the warning that asyncio gives.

        Whoever cancelled the wait for a message was not told of it.
        """
        return self.done() and not self.cancelled() and not self._log_traceback

    def count_as_told(self) -> None:
        """Note that the program hears of the failure in another way."""
        if self.done() and not self.cancelled():
            self.exception()

    def settle(self, result: T) -> None:
        """Tell the result."""
        if not self.done():
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Tell the failure."""
        if not self.done():
            self.set_exception(error)
