"""The future of a message or batch in an event loop."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


class LoopFuture(asyncio.Future[T]):
    """A future whose waiter may have been cancelled when it is settled."""

    @property
    def is_reported(self) -> bool:
        """True when the program took the failure; asyncio decides the same for its warning.

        A cancelled wait took nothing.
        """
        return self.done() and not self.cancelled() and not self._log_traceback

    def count_as_reported(self) -> None:
        """Note that the failure is reported in another way."""
        if self.done() and not self.cancelled():
            self.exception()

    def settle(self, result: T) -> None:
        """Set the result, unless the future is done."""
        if not self.done():
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Set the failure, unless the future is done."""
        if not self.done():
            self.set_exception(error)
