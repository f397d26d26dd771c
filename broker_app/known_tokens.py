"""What a broker knows of tokens: what its guard judges by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker_app.access import verified_client
from http_base.guard import Guard

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from http_base.access import AccessIndex, Holder
    from http_base.tokens import ClientToken


class KnownTokens:
    """The table of holders that a manager sent last."""

    def __init__(self, runtime: BrokerRuntime) -> None:
        """Look at what a broker has in memory."""
        self._runtime = runtime

    def access(self) -> AccessIndex | None:
        """Return who may do what; None while no manager has told it."""
        return self._runtime.access

    def verify(self, text: str) -> ClientToken:
        """Return what the token of a registration says, if its client was not deleted."""
        return verified_client(self._runtime, text)

    def now_ms(self) -> int:
        """Return the wall clock, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def used(self, _: Holder) -> None:
        """Note nothing: managers say when an API token was used."""


def guard_of(runtime: BrokerRuntime, secret: str) -> Guard:
    """Return what judges the calls of a broker."""
    return Guard(KnownTokens(runtime), secret=secret)
