"""How fast replicas are moved for balance."""

from __future__ import annotations


class Pace:
    """When the next move may begin, so that all together copy so many bytes a second.

    A move may begin once the bytes of those before it have had their time: one at the least is
    under way, however large it is.
    """

    def __init__(self) -> None:
        """Let a move begin at once."""
        self._free_at_s = 0.0

    def reset(self) -> None:
        """Let the next move begin at once, as after another speed was set."""
        self._free_at_s = 0.0

    def allows(self, now_s: float) -> bool:
        """Tell whether a move may begin now."""
        return now_s >= self._free_at_s

    def count(self, size_bytes: int, *, now_s: float, bytes_per_second: int) -> None:
        """Count a move that begins now."""
        self._free_at_s = max(now_s, self._free_at_s) + size_bytes / bytes_per_second
