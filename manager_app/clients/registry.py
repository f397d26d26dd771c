"""Registered producers and consumers in memory, with their heartbeats, for the hot views.

A client that is not in memory is looked up in the database. Calls that are passed on count as
heartbeats. A silent client is shown as expired, and a consumer is forgotten after days of silence;
until then its next call makes it alive again. Only a deleted or forgotten client is refused.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from http_base.writes import DATABASE_FAILURES
from manager_app.last_seen import LastSeen
from manager_app.models import ID_MAX, ClientState
from manager_app.selectors import ClientKey, ClientKind
from myqueue.contract.errors import (
    ClientNotFound,
    DatabaseUnavailable,
    UnauthorizedException,
)
from myqueue.contract.partitioner import RoundRobin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime

    from manager_app.selectors import ClientRow

REMEMBERED_S_STANDBY = 2.0
"""How long a manager that is not the primary, and hears of no removal, trusts a look-up."""
LOOK_AGAIN_LIMIT_S = 0.3
"""For the database to say that a client which is known is still there: its call waits meanwhile."""
UNUSED_S_MAX = 3_600.0
"""How long a client that does nothing is kept in memory; then its next call looks it up again."""


@dataclass
class KnownClient:
    """A client in memory."""

    key: ClientKey
    topic: str
    rotation: RoundRobin
    """Over the partitions, for calls that name none."""
    looked_up_s: float
    """Monotonic time; that of the last try while the database did not answer."""
    epoch: int | None
    """Of the lease under which it was looked up, if it was the primary's look."""
    used_s: float
    """When it last called, or registered."""
    address: str = ""
    """From where it registered, or sent its last heartbeat; empty: another manager heard it."""


class ClientRegistry:
    """The clients in memory, and when each was last heard.

    `register` and `forget` may be called in any thread, the coroutines in the loop alone.
    """

    def __init__(
        self,
        *,
        look_up: Callable[[ClientKey], Awaitable[ClientRow | None]],
        dead_after_s: float,
        monotonic_s: Callable[[], float],
        now: Callable[[], datetime],
        epoch: Callable[[], int | None],
        is_silent: Callable[[], bool],
    ) -> None:
        """Make an empty registry.

        Args:
            look_up: finds a client in the database.
            dead_after_s: silence after which a client counts as expired, in seconds.
            monotonic_s: clock for that, in seconds.
            now: wall clock, for what is recorded.
            epoch: of the lease of this manager. None where another is the primary: the database
                alone says which clients are expired, and heartbeats are only kept until they are
                taken, to be passed on to the primary.
            is_silent: True while the database is known not to answer: who is known is not looked up
                again.
        """
        self._look_up = look_up
        self._monotonic_s = monotonic_s
        self._now = now
        self._epoch = epoch
        self._is_silent = is_silent
        self._clients: dict[ClientKey, KnownClient] = {}
        self._unrecorded: dict[ClientKey, datetime] = {}
        self.heartbeats: LastSeen[ClientKey] = LastSeen(dead_after_s)

    def __len__(self) -> int:
        """How many clients are kept in memory."""
        return len(self._clients)

    async def admit(
        self, kind: ClientKind, client_id: int, topic: str, *, is_heartbeat: bool = True
    ) -> KnownClient:
        """Return a client that may act on a topic.

        Args:
            kind: of the client.
            client_id: its id.
            topic: that it must be registered for.
            is_heartbeat: the call counts as a heartbeat, however long the client was silent.

        Raises:
            UnauthorizedException: it is not registered for this topic.
        """
        client = await self._find(ClientKey(kind, client_id))
        if client is None or client.topic != topic:
            raise UnauthorizedException(
                f"{kind} {str(client_id)[:20]} is not registered for topic {topic[:260]!r}:"
                f" POST /{kind}/register first",
                field=f"{kind}_id",
            )
        if is_heartbeat:
            self.note(client.key)
        return client

    async def beat(self, kind: ClientKind, client_id: int, *, address: str = "") -> None:
        """Note a heartbeat, however long the client was silent.

        Args:
            kind: of the client.
            client_id: its id.
            address: from where it came; empty where that is not known.

        Raises:
            ClientNotFound: there is no such client.
        """
        client = await self._find(ClientKey(kind, client_id))
        if client is None:
            raise ClientNotFound(f"there is no {kind} {str(client_id)[:20]}", field="key")
        client.address = address or client.address
        self.note(client.key)

    def note(self, key: ClientKey, *, age_s: float = 0.0) -> None:
        """Note a heartbeat of a client that exists, heard `age_s` seconds ago."""
        self.heartbeats.beat(key, self._monotonic_s() - age_s)
        at = self._now() - timedelta(seconds=age_s)
        self._unrecorded[key] = max(at, self._unrecorded.get(key, at))

    def register(self, key: ClientKey, topic: str, *, address: str = "") -> None:
        """Note a client that was just stored as alive, and from where it registered."""
        known = self._clients.get(key)
        now_s = self._monotonic_s()
        rotation = known.rotation if known else RoundRobin(key.client_id)
        self.heartbeats.beat(key, now_s)
        known = KnownClient(key, topic, rotation, now_s, self._epoch(), now_s, address)
        self._clients[key] = known

    def forget(self, key: ClientKey) -> None:
        """Drop a client from memory; its next call looks it up in the database."""
        self._clients.pop(key, None)
        self._unrecorded.pop(key, None)
        self.heartbeats.forget(key)

    async def forget_unused(self) -> None:
        """Drop clients that made no call for `UNUSED_S_MAX`; called in the loop."""
        before_s = self._monotonic_s() - UNUSED_S_MAX
        for key in [one.key for one in self._clients.copy().values() if one.used_s < before_s]:
            self._clients.pop(key, None)

    def forget_topic(self, topic: str) -> None:
        """Drop the clients of a deleted topic."""
        for client in list(self._clients.values()):
            if client.topic == topic:
                self.forget(client.key)

    def expire(self, keys: Iterable[ClientKey]) -> None:
        """Drop clients that were stored as expired."""
        for key in keys:
            self.forget(key)

    def take_unrecorded(self) -> dict[ClientKey, datetime]:
        """Return the heartbeats since the last call, to be recorded."""
        unrecorded, self._unrecorded = self._unrecorded, {}
        return unrecorded

    def take_heartbeats(self) -> dict[ClientKey, float]:
        """Return the clients heard since the last call, with the monotonic time of each."""
        seen = {key: self.heartbeats.last_seen_s(key) for key in self.take_unrecorded()}
        heartbeats = {key: at_s for key, at_s in seen.items() if at_s is not None}
        for key in heartbeats:
            self.heartbeats.forget(key)
        return heartbeats

    def keep_heartbeats(self, heartbeats: Mapping[ClientKey, float]) -> None:
        """Take back heartbeats that could not be passed on; a later one of the same client wins."""
        now_s = self._monotonic_s()
        for key, at_s in heartbeats.items():
            self.note(key, age_s=now_s - at_s)

    def keep_unrecorded(self, heard: Mapping[ClientKey, datetime]) -> None:
        """Take back heartbeats that could not be recorded; a later one of the same client wins."""
        for key, at in heard.items():
            self._unrecorded[key] = max(at, self._unrecorded.get(key, at))

    def address(self, key: ClientKey) -> str | None:
        """Return from where this manager heard a client last; None where it did not."""
        known = self._clients.get(key)
        return known.address or None if known else None

    def latest(self, key: ClientKey, recorded: datetime) -> datetime:
        """Return the time of a client's last heartbeat, recorded or not yet."""
        return max(recorded, self._unrecorded.get(key, recorded))

    def is_expired(self, key: ClientKey, state: str) -> bool:
        """Tell whether a client with this stored state counts as expired now."""
        if self._epoch() is None or key not in self.heartbeats:
            return state == ClientState.EXPIRED
        return self.heartbeats.is_dead(key, self._monotonic_s())

    async def _find(self, key: ClientKey) -> KnownClient | None:
        client = self._clients.get(key)
        now_s = self._monotonic_s()
        if client is not None:
            client.used_s = now_s
            if not self._is_stale(client, now_s):
                return client
        if not 0 < key.client_id <= ID_MAX:
            return None
        epoch = self._epoch()
        if client is None:
            row = await self._look_up(key)
        elif self._is_silent():
            return client
        else:
            try:
                async with asyncio.timeout(LOOK_AGAIN_LIMIT_S):
                    row = await self._look_up(key)
            except (*DATABASE_FAILURES, DatabaseUnavailable, TimeoutError):
                client.looked_up_s = now_s
                return client  # as it was known last
        if row is None:
            self._clients.pop(key, None)
            return None
        # While the database was asked, the client may have registered again.
        present = self._clients.get(key)
        if present is not None and present is not client:
            return present
        rotation = client.rotation if client else RoundRobin(key.client_id)
        address = client.address if client else ""
        client = self._clients[key] = KnownClient(
            key, row.topic, rotation, now_s, epoch, now_s, address
        )
        return client

    def _is_stale(self, client: KnownClient, now_s: float) -> bool:
        """Tell whether another manager may have removed the client, or a restored database it."""
        epoch = self._epoch()
        if epoch is None:
            return now_s - client.looked_up_s > REMEMBERED_S_STANDBY
        return client.epoch != epoch
