"""Registered clients as the hot views see them: who is known, of which topic, and alive.

What is not in memory is looked up in the database first. Calls that are passed on count as signs
of life, like heartbeats do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manager_app.health import Heartbeats
from manager_app.models import ID_MAX, ClientState
from manager_app.selectors import ClientKey, ClientKind
from myqueue.errors import ClientExpired, ClientNotFound, UnauthorizedException
from myqueue.partitioner import RoundRobin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from manager_app.selectors import ClientRow

REMEMBERED_S_READ_ONLY = 2.0
"""How long a read-only manager, which sees no registrations, trusts what it looked up."""


@dataclass
class Session:
    """A client that this process knows."""

    key: ClientKey
    topic: str
    expired: bool
    rotation: RoundRobin
    """Over the partitions, for calls without one."""
    looked_up_s: float


class ClientRegistry:
    """Sessions and signs of life. Registering and forgetting may happen in any thread."""

    def __init__(
        self,
        *,
        look_up: Callable[[ClientKey], Awaitable[ClientRow | None]],
        dead_after_s: float,
        monotonic_s: Callable[[], float],
        now: Callable[[], datetime],
        read_only: bool = False,
    ) -> None:
        """Start without sessions.

        Args:
            look_up: finds a client in the database.
            dead_after_s: silence after which a client expires, in seconds.
            monotonic_s: clock for that, in seconds.
            now: wall clock, for what is recorded.
            read_only: judge by the database alone and record nothing.
        """
        self._look_up = look_up
        self._monotonic_s = monotonic_s
        self._now = now
        self._read_only = read_only
        self._sessions: dict[ClientKey, Session] = {}
        self._unrecorded: dict[ClientKey, datetime] = {}
        self.heartbeats: Heartbeats[ClientKey] = Heartbeats(dead_after_s)

    async def admit(self, kind: ClientKind, client_id: int, topic: str) -> Session:
        """Return the session of a client that may act on a topic; a sign of life.

        Raises:
            UnauthorizedException: it is not registered for this topic.
            ClientExpired: it was silent for too long.
        """
        session = await self._find(ClientKey(kind, client_id))
        if session is None or session.topic != topic:
            raise UnauthorizedException(
                f"{kind} {str(client_id)[:20]} is not registered for topic {topic[:260]!r}:"
                f" POST /{kind}/register first",
                field=f"{kind}_id",
            )
        self._live(session)
        return session

    async def beat(self, kind: ClientKind, client_id: int) -> None:
        """Note a heartbeat.

        Raises:
            ClientNotFound: there is no such client.
            ClientExpired: it was silent for too long.
        """
        session = await self._find(ClientKey(kind, client_id))
        if session is None:
            raise ClientNotFound(f"there is no {kind} {str(client_id)[:20]}", field="key")
        self._live(session)

    def register(self, key: ClientKey, topic: str) -> None:
        """Note a client that was just stored as alive."""
        known = self._sessions.get(key)
        now_s = self._monotonic_s()
        rotation = known.rotation if known else RoundRobin(key.client_id)
        self.heartbeats.beat(key, now_s)
        self._sessions[key] = Session(key, topic, False, rotation, now_s)

    def forget(self, key: ClientKey) -> None:
        """Drop what is known of a client; the database decides about its next call."""
        self._sessions.pop(key, None)
        self._unrecorded.pop(key, None)
        self.heartbeats.forget(key)

    def forget_topic(self, topic: str) -> None:
        """Drop the clients of a deleted topic."""
        for session in list(self._sessions.values()):
            if session.topic == topic:
                self.forget(session.key)

    def expire(self, keys: Iterable[ClientKey]) -> None:
        """Drop clients that were stored as expired."""
        for key in keys:
            self.forget(key)

    def take_unrecorded(self) -> dict[ClientKey, datetime]:
        """Return the heartbeats since the last call, to be recorded."""
        unrecorded, self._unrecorded = self._unrecorded, {}
        return unrecorded

    def latest(self, key: ClientKey, recorded: datetime) -> datetime:
        """Return the time of a client's last heartbeat, recorded or not yet."""
        return max(recorded, self._unrecorded.get(key, recorded))

    def is_expired(self, key: ClientKey, state: str) -> bool:
        """Tell whether a client with this stored state counts as expired now."""
        silent = not self._read_only and self.heartbeats.is_dead(key, self._monotonic_s())
        return state == ClientState.EXPIRED or silent

    async def _find(self, key: ClientKey) -> Session | None:
        session = self._sessions.get(key)
        now_s = self._monotonic_s()
        if session is not None and not self._is_stale(session, now_s):
            return session
        if not 0 < key.client_id <= ID_MAX:
            return None
        row = await self._look_up(key)
        if row is None:
            self._sessions.pop(key, None)
            return None
        expired = row.state == ClientState.EXPIRED
        if not expired and not self._read_only:
            self.heartbeats.observe(key, row.last_heartbeat, now_s)
        # While the database was asked, the client may have registered again.
        present = self._sessions.get(key)
        if present is not None and present is not session:
            return present
        rotation = session.rotation if session else RoundRobin(key.client_id)
        session = Session(key, row.topic, expired, rotation, now_s)
        if not expired or self._read_only:
            self._sessions[key] = session
        return session

    def _is_stale(self, session: Session, now_s: float) -> bool:
        return self._read_only and now_s - session.looked_up_s > REMEMBERED_S_READ_ONLY

    def _live(self, session: Session) -> None:
        """Note a sign of life, unless it comes too late."""
        key, now_s = session.key, self._monotonic_s()
        if session.expired or (not self._read_only and self.heartbeats.is_dead(key, now_s)):
            raise ClientExpired(
                f"{key.kind} {key.client_id} sent no heartbeat for too long: register again with"
                " its id and token",
                field=f"{key.kind}_id",
            )
        if not self._read_only:
            self.heartbeats.beat(key, now_s)
            self._unrecorded[key] = self._now()
