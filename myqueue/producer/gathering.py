"""Whether a batch waits a moment for the callers that the one before it has woken. Pure.

Threads that each wait for their message come back together, one after the other: they were woken
by one answer. The first of them would leave alone, and the others wait for a whole round trip. So
what waits is held until as many have come as can, for a part of that round trip at most. Where
fewer came in time, only so many are expected for a number of batches, twice as many each time:
callers that do not come back cost nearly nothing.
"""

from __future__ import annotations

SHARE_OF_ROUND_TRIP = 0.5
"""Of the time that the batch before it took, how much a batch is held."""
HOLD_S_MAX = 0.005
"""The longest hold, in seconds, whatever a round trip took."""
RESTS = (4, 1_024)
"""For how many batches fewer callers are expected: at first, and at most."""


class Gathering:
    """The holds of one partition.

    Attributes:
        until_s: monotonic time at which the present hold ends; None while there is none.
    """

    __slots__ = ("_came", "_expected", "_rest", "_rest_next", "until_s")

    def __init__(self) -> None:
        self.until_s: float | None = None
        self._expected = 0
        self._came = 0
        """How many there were when a hold had been in vain."""
        self._rest = 0
        """For how many batches no more than that are expected."""
        self._rest_next = RESTS[0]

    def begin(self, woken: int, waiting: int, *, took_s: float, now_s: float) -> None:
        """Begin a hold after an answer, if it is worth it.

        Args:
            woken: callers whose messages were answered.
            waiting: callers that wait already.
            took_s: how long the answer took.
            now_s: monotonic time.
        """
        expected = woken + waiting
        if self._rest:
            self._rest -= 1
            expected = min(expected, self._came)
        # A caller alone is not to wait for itself.
        if woken > 1 and expected > max(waiting, 1):
            self._expected = expected
            self.until_s = now_s + min(took_s * SHARE_OF_ROUND_TRIP, HOLD_S_MAX)

    def came(self, waiting: int) -> None:
        """Note how many callers wait by now; the hold ends when that are all."""
        if self.until_s is not None and waiting >= self._expected:
            self.until_s = None
            if not self._rest:
                self._rest_next = RESTS[0]

    def expire(self, waiting: int, now_s: float) -> bool:
        """End the hold when its time is over, and expect less of the next ones.

        Returns:
            True when there is no hold any more.
        """
        if self.until_s is None:
            return True
        if now_s < self.until_s:
            return False
        self.until_s = None
        self._came = waiting
        self._rest = self._rest_next
        self._rest_next = min(2 * self._rest, RESTS[1])
        return True

    def stop(self) -> None:
        """End the hold for another reason, of which nothing is to be learnt."""
        self.until_s = None
