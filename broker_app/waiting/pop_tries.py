"""Pops with a request id that came here and were not answered yet, each try of them."""

from __future__ import annotations

PopKey = tuple[int, int, bytes]
"""(group id, consumer's id, digest of a request id, empty without one)."""


class PopTries:
    """The tries that are under way, by pop."""

    def __init__(self) -> None:
        self._tries: dict[PopKey, list[PopTry]] = {}

    def __contains__(self, key: PopKey) -> bool:
        """Tell whether a pop is under way here, and may still be proposed."""
        return key in self._tries

    def __len__(self) -> int:
        """Return how many pops are under way."""
        return len(self._tries)

    def begin(self, key: PopKey) -> PopTry:
        """Return a try to enter, which ends the earlier ones of the same pop, if it has an id."""
        return PopTry(self._tries, key)


class PopTry:
    """One try of a pop, under way while it is entered.

    Attributes:
        is_superseded: True once the pop was repeated under the same request id: nobody waits for
            this try any more, and what it took would be lost, so that it takes nothing.
    """

    __slots__ = ("_key", "_tries", "is_superseded")

    def __init__(self, tries: dict[PopKey, list[PopTry]], key: PopKey) -> None:
        self._tries, self._key = tries, key
        self.is_superseded = False

    def __enter__(self) -> PopTry:
        """Begin."""
        if self._key[2]:
            tries = self._tries.setdefault(self._key, [])
            for earlier in tries:
                earlier.is_superseded = True
            tries.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        if self._key[2]:
            tries = self._tries[self._key]
            tries.remove(self)
            if not tries:
                del self._tries[self._key]
