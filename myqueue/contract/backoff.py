"""Exponential back-off: pauses after failures in a row, twice as long each, up to a limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ldexp

DOUBLINGS_MAX = 64
"""More would exceed any limit, and at last overflow a float."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double.

    Raises:
        ValueError: the first pause is below 0 or above the longest, or the jitter not from 0 to 1.
    """

    first_s: float
    """After no failure before."""
    longest_s: float
    jitter: float = 0.0
    """Share of a pause that chance decides, so that not all who failed at once come back at once:
    with 0.5 at least half of it is waited."""

    def __post_init__(self) -> None:
        if not (0 <= self.first_s <= self.longest_s and 0 <= self.jitter <= 1):
            raise ValueError(f"no such pauses: {self}")

    def pause_s(self, failures: int, random: float = 1.0) -> float:
        """Return how long to wait, in seconds.

        Args:
            failures: in a row, before the one that is waited for now.
            random: chance, from 0 (shortest) to 1 (longest).
        """
        pause_s = min(self.longest_s, ldexp(self.first_s, min(failures, DOUBLINGS_MAX)))
        return pause_s * (1 - self.jitter * (1 - random))
