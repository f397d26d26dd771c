"""What others remember of a replica, to tell when it comes back as an older copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """What a replica can never be without again, unless its disk or a person takes it away."""

    term: int
    """The highest that is durable here."""
    index: int
    """Highest index that is known to be committed and is durable here."""
