"""Clusters that one test after the other uses, and leaves as it found them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Clearable(Protocol):
    """A cluster that can be brought back to how it was at its start."""

    def __enter__(self) -> Self:
        """Start it."""

    def clear(self) -> None:
        """Delete every topic; everything must run and be whole, or AssertionError is raised."""

    def close(self) -> None:
        """End it."""


_running: list[Kept[Any]] = []
"""Those that have a cluster now."""
AnyCluster = TypeVar("AnyCluster", bound=Clearable)


class Kept(Generic[AnyCluster]):
    """A cluster that is started for the first test, and anew after one that left it broken."""

    def __init__(self, make: Callable[[], AnyCluster]) -> None:
        self._make = make
        self._cluster: AnyCluster | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def lent(self) -> Iterator[AnyCluster]:
        """Give the cluster, whole and without topics; it has to come back that way.

        Raises:
            AssertionError: it did not; the next test gets another one.
        """
        if self._cluster is None:
            self._cluster = self._make().__enter__()
            _running.append(self)
        yield self._cluster
        try:
            self._cluster.clear()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the cluster, if there is one; the next test gets another one."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            _running.remove(self)
            cluster.close()


def close_all() -> None:
    """End every cluster that is kept; it starts anew for the next test that wants it."""
    for kept in tuple(_running):
        kept.close()
