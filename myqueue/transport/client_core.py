"""What the cores of all clients have: a session, and how it begins and ends. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from myqueue.results import Registration
    from myqueue.transport.effects import Flow
    from myqueue.transport.session import Session


class ClientCore:
    """Base of the cores of producers, consumers and workers; threads or an event loop drive it.

    Args:
        session: its registrations, and how it reaches managers and leaders.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    group_name = ""
    """The group that the client is in."""

    def shown(self, kind: str, topics: Sequence[str] = ()) -> str:
        """Return how a client shows itself.

        Args:
            kind: name of its class.
            topics: those that it will be registered for.
        """
        session = self.session
        topics = ", ".join(session.registrations or topics) or "no topic"
        group = f" in group {self.group_name}" if self.group_name else ""
        state = ", closed" if session.closed or session.closing else ""
        return f"<{kind} of {topics}{group} at {', '.join(session.managers.addresses)}{state}>"

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Register for the topics, and do what has to be done before the first call.

        Args:
            topics: names.
            attach: registrations of an earlier client, by topic, to go on with.
        """
        return self.session.open(topics, attach)

    def register_all(self, topics: Sequence[str]) -> Flow[list[Registration]]:
        """Register for further topics, for all or, where one is registered already, for none."""
        return self.session.register_all(topics)

    def beat(self) -> Flow[None]:
        """Send the heartbeats that are due."""
        return self.session.beat()

    def forget(self) -> Flow[None]:
        """Have the cluster forget the client with its cursors and sequences."""
        return self.session.forget()

    def restart_after_fork(self) -> None:
        """Start anew in the child: new locks, nothing of what waits or is under way."""
        self.session.restart_after_fork()
