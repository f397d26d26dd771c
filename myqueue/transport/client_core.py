"""What a client's core offers to whoever drives it, threads or an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from myqueue.results import Registration
    from myqueue.transport.effects import Flow
    from myqueue.transport.session import Session


class ClientCore(Protocol):
    """The core of a producer, a consumer or a worker."""

    @property
    def session(self) -> Session:
        """Its registrations, and how it reaches managers and leaders."""
        ...

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Register for the topics, and do what has to be done before the first call."""
        ...

    def register_all(self, topics: Sequence[str]) -> Flow[list[Registration]]:
        """Register for further topics, for all or, where one is registered already, for none."""
        ...

    def beat(self) -> Flow[None]:
        """Send the heartbeats that are due."""
        ...

    def forget(self) -> Flow[None]:
        """Have the cluster forget the client."""
        ...

    def restart_after_fork(self) -> None:
        """Start anew in the child: new locks, nothing of what waits or is under way."""
        ...
