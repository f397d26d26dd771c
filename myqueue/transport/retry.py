"""Whether, when and how a failed call is tried again. Pure: errors and times in, decisions out.

The rules follow the error classes (`retriable`, `outcome_known`), not a list of cases:

- a redirect (NOT_LEADER that names the leader, a broker that cannot be reached) is followed at
  once, a few times in a row, because the next try goes elsewhere;
- UNAUTHORIZED and CLIENT_EXPIRED ask for one re-attach under the same id;
- every other retriable error waits, exponentially longer with jitter, until the deadline;
- once a try had an unknown outcome, the call's outcome is unknown unless a later try succeeds.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.errors import (
    OUTCOME_UNKNOWN,
    BrokerUnreachable,
    ClientExpired,
    DeliveryTimeout,
    NotLeader,
    QueueError,
    UnauthorizedException,
    with_unknown_outcome,
)

if TYPE_CHECKING:
    from myqueue.config import ClientConfig

REDIRECTS_IN_A_ROW_MAX = 4
REATTACHES_MAX = 3


class RetryAction(Enum):
    """What to do after a failed try."""

    AGAIN = auto()
    """Try again after the delay."""
    REATTACH = auto()
    """Register again under the same id, then try again."""
    STOP = auto()
    """Raise `Attempts.verdict`."""


class Decision(NamedTuple):
    """What to do, and the seconds to wait before it."""

    step: RetryAction
    delay_s: float = 0.0


class Attempts:
    """The tries of one call.

    Attributes:
        outcome_unknown: True once a try may have taken effect without an answer.
        expired: True once the deadline ended the tries.
        last_error: what the last try failed with.
    """

    def __init__(self, config: ClientConfig, *, deadline_s: float) -> None:
        self._backoff = config.retry_backoff
        self._deadline_s = deadline_s
        self._waits = 0
        self._redirects = 0
        self._reattaches = 0
        self.outcome_unknown = False
        self.expired = False
        self.last_error: QueueError | None = None

    def failed(self, error: QueueError, *, now_s: float, jitter: float) -> Decision:
        """Decide what follows a failed try.

        Args:
            error: what the try ended with.
            now_s: monotonic seconds.
            jitter: random, in [0, 1).
        """
        self.outcome_unknown = self.outcome_unknown or not error.outcome_known
        self.last_error = error
        if isinstance(error, UnauthorizedException):
            return self._unauthorized(error)
        if not error.retriable:
            return Decision(RetryAction.STOP)
        return self.wait(error, now_s=now_s, jitter=jitter)

    def wait(self, error: QueueError, *, now_s: float, jitter: float) -> Decision:
        """Decide how long to wait before the next try, whatever the error's class says."""
        delay_s = self._delay_s(error, jitter)
        if now_s + delay_s >= self._deadline_s:
            self.expired = True
            return Decision(RetryAction.STOP)
        return Decision(RetryAction.AGAIN, delay_s)

    def verdict(self, error: QueueError) -> QueueError:
        """Return the error to raise after STOP: the last one, with what is known of the outcome."""
        if not self.outcome_unknown or not error.outcome_known:
            return error
        return with_unknown_outcome(error)

    def delivery_verdict(self, error: QueueError) -> QueueError:
        """Return the error to raise after STOP for a write: DeliveryTimeout when time ran out."""
        if not self.expired:
            return self.verdict(error)
        known = "it may or may not have happened" if self.outcome_unknown else "it did not happen"
        return DeliveryTimeout(
            f"not acknowledged in time; {known}; last error {error.code}: {error.message}",
            outcome=OUTCOME_UNKNOWN if self.outcome_unknown else None,
            last_code=error.code,
        )

    def _unauthorized(self, error: UnauthorizedException) -> Decision:
        limit = REATTACHES_MAX if isinstance(error, ClientExpired) else 1
        if self._reattaches >= limit:
            return Decision(RetryAction.STOP)
        self._reattaches += 1
        return Decision(RetryAction.REATTACH)

    def _delay_s(self, error: QueueError, jitter: float) -> float:
        redirects = isinstance(error, BrokerUnreachable) or leader_address(error) != ""
        if redirects and self._redirects < REDIRECTS_IN_A_ROW_MAX:
            self._redirects += 1
            return 0.0
        self._redirects = 0
        delay_s = self._backoff.pause_s(self._waits, jitter)
        self._waits += 1
        return max((error.retry_after_ms or 0) / 1000, delay_s)


def leader_address(error: QueueError) -> str:
    """Return the address of the leader that an error names, or an empty text."""
    leader = error.details.get("leader")
    if isinstance(error, NotLeader | BrokerUnreachable) and isinstance(leader, dict):
        return str(leader.get("address") or "")
    return ""
