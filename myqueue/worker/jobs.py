"""What handlers of workers have in common: which messages are at work, and when they come again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import bounded, check_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from myqueue.results import Delivery

logger = logging.getLogger(__name__)

WAIT_S = 1.0
"""How long one wait for messages lasts at most, before the worker looks at what is at work."""
EXTENDS_PER_VISIBILITY = 3
"""How often a message is kept for longer in the time for which it is out of others' hands."""


@dataclass(frozen=True, kw_only=True)
class HandlerOptions:
    """How a handler is called.

    Raises:
        InvalidRequest: a value is impossible; the field is named.
    """

    concurrency: Annotated[int, bounded(1, 1_000)] = 1
    """Most messages at work at once."""
    retry_delay: Annotated[float, Meta(ge=0)] = 1.0
    """Seconds after which a message comes again whose handler raised; doubles each time."""
    retry_delay_max: Annotated[float, Meta(ge=0, le=43_200)] = 300.0
    """Most seconds of that."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.retry_delay > self.retry_delay_max:
            raise InvalidRequest(
                "retry_delay must not be above retry_delay_max", field="retry_delay"
            )

    def delay_s(self, delivery: Delivery) -> float:
        """Return after how many seconds a message comes again that failed."""
        backoff = Backoff(self.retry_delay, self.retry_delay_max)
        return backoff.pause_s(delivery.delivery_count - 1)


class AtWork:
    """The messages that are at work, each out of others' hands for a while. Its owner locks.

    Args:
        visibility_s: for how long.
    """

    def __init__(self, visibility_s: float) -> None:
        self.look_s = min(WAIT_S, visibility_s / EXTENDS_PER_VISIBILITY / 2)
        """How often to look for what is to be kept for longer."""
        self._every_s = visibility_s / EXTENDS_PER_VISIBILITY
        self._due_s: dict[str, tuple[float, Delivery]] = {}

    def __len__(self) -> int:
        return len(self._due_s)

    def begin(self, deliveries: Iterable[Delivery], now_s: float) -> None:
        """Note messages that were received."""
        for one in deliveries:
            self._due_s[one.receipt] = now_s + self._every_s, one

    def end(self, delivery: Delivery) -> None:
        """Note that nobody works at a message any more."""
        self._due_s.pop(delivery.receipt, None)

    def due(self, now_s: float) -> list[Delivery]:
        """Return the messages to keep for longer now; they are due again after a while."""
        found = [one for due_s, one in self._due_s.values() if due_s <= now_s]
        self.begin(found, now_s)
        return found


def failed(delivery: Delivery, delay_s: float, error: Exception) -> None:
    """Tell the log that a handler raised."""
    logger.warning(
        "the handler failed at %s/%d, offset %d, delivery %d; it comes again in %.1f s",
        *(delivery.topic, delivery.partition, delivery.offset, delivery.delivery_count, delay_s),
        exc_info=error,
    )


def unsettled(what: str, error: Exception) -> None:
    """Tell the log that the cluster was not told what became of a message, which comes again."""
    logger.warning("%s did not reach the cluster: %s", what, error)
