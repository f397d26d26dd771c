"""Many callers that each wait for their own message: what they send leaves together.

What is proposed alone costs a frame to each follower and a transaction on three disks. Callers that
were answered together come back one after the other: who is first is held until as many have come
as there are, for a round trip and 5 ms at most. Where there are few nobody is held, and hardly
anybody where those who were waited for did not come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CALLERS_MIN = 4
"""So many have to be at work at once for any of them to be held."""
CALLERS_MAX = 64
"""So many leave whether there are more or not: what they would save is little by then."""
HELD_S_MAX = 0.005
"""How long one is held at most, however long the last answer took."""
MISSES_MAX = 8
"""So often in a row may fewer come than there were; then some leave without being held."""
UNHELD_MIN, UNHELD_MAX = 64, 4_096
"""How many do, twice as many each time that again fewer came."""


class Gathering:
    """Holds requests for a moment where others are about to come.

    One for all partitions: what leaves in one turn of the engine shares frames and transactions.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Hold nothing.

        Args:
            loop: whose clock and timers count; the running one when left out.
        """
        self._own_loop = loop
        self._held: list[Callable[[float], None]] = []
        self._under_way = 0
        """Left and not answered."""
        self._callers = 1
        """How many there are, as far as is known."""
        self._round_s = 0.0
        """How long the last answer took."""
        self._timer: asyncio.TimerHandle | None = None
        self._misses = 0
        """How often in a row fewer came."""
        self._unheld = 0
        """So many leave at once that come next."""

    def add(self, leave: Callable[[float], None]) -> None:
        """Let a request leave, now or in a moment with others.

        Args:
            leave: begins it; is given the time by the loop's clock. `answered` has to be called
                once with that, also if it fails.
        """
        held = self._held
        held.append(leave)
        self._callers = min(max(self._callers, self._under_way + len(held)), CALLERS_MAX)
        if self._unheld:
            self._unheld -= 1
            self._leave()
        elif len(held) >= self._callers:
            self._misses = 0
            self._leave()
        elif self._callers < CALLERS_MIN:
            self._leave()
        elif self._timer is None:
            held_s = min(self._round_s, HELD_S_MAX)
            self._timer = self._loop.call_later(held_s, self._leave_fewer)

    def answered(self, left_s: float) -> None:
        """Note that a request is answered that left at a time of the loop's clock."""
        self._under_way -= 1
        self._round_s = self._loop.time() - left_s

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._own_loop or asyncio.get_running_loop()

    def _leave_fewer(self) -> None:
        """Let those leave who have come: it seems that there are no others."""
        self._callers = self._under_way + len(self._held)
        self._misses += 1
        if self._misses >= MISSES_MAX:
            self._unheld = min(UNHELD_MIN << (self._misses - MISSES_MAX), UNHELD_MAX)
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        leaving, self._held = self._held, []
        self._under_way += len(leaving)
        now_s = self._loop.time()
        for leave in leaving:
            leave(now_s)
