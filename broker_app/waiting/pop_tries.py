"""Pops with a request id that came here and were not answered yet, each try of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    PopKey = tuple[int, int, bytes]
    """(group id, consumer's id, digest of a request id)."""


class PopTry:
    """One try of a pop.

    Attributes:
        is_superseded: True once the pop was repeated under the same request id: nobody waits for
            this try any more, and what it took would be lost, so that it takes nothing.
    """

    __slots__ = ("is_superseded",)

    def __init__(self) -> None:
        self.is_superseded = False


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

    @contextmanager
    def begin(self, key: PopKey) -> Iterator[PopTry]:
        """Let a try begin, which ends the earlier ones of the same pop, if it has a request id."""
        this = PopTry()
        if not key[2]:
            yield this
            return
        tries = self._tries.setdefault(key, [])
        for earlier in tries:
            earlier.is_superseded = True
        tries.append(this)
        try:
            yield this
        finally:
            tries.remove(this)
            if not tries:
                del self._tries[key]
