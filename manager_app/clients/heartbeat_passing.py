"""Heartbeats of clients that a read-only manager took, passed on to the primary.

A read-only manager records nothing: the primary decides which clients are silent. Heartbeats go in
batches, each with its age; while the primary does not answer, the last one of each client is kept.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

from http_base.cluster_http import CallFailed
from manager_app.brokers.client import BrokerCall
from manager_app.selectors import ClientKey
from myqueue.contract.answers import Done
from myqueue.contract.errors import QueueError
from myqueue.contract.inputs import HEALTH_CONSUMER, HEALTH_PRODUCER, Input, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from manager_app.brokers.client import BrokerClient
    from manager_app.clients.registry import ClientRegistry
    from manager_app.metadata import MetadataCopy
    from manager_app.selectors import ClientKind

logger = logging.getLogger(__name__)

PATH = "/clients/signs"
HEARTBEATS_PER_CALL = 5_000
AGE_MS_MAX = 365 * 24 * 3600 * 1000
CALL_TIMEOUT_S = 2.0
"""For the primary to take one batch."""
KINDS: dict[int, ClientKind] = {HEALTH_CONSUMER: "consumer", HEALTH_PRODUCER: "producer"}
_TYPES = {kind: number for number, kind in KINDS.items()}


class PassedHeartbeat(Input, frozen=True):
    """One heartbeat of a client."""

    type: Annotated[int, bounded(HEALTH_CONSUMER, HEALTH_PRODUCER)]
    """0 consumer, 1 producer."""
    key: Annotated[int, bounded(1)]
    """Its id."""
    age_ms: Annotated[int, bounded(0, AGE_MS_MAX)]
    """How long ago, in milliseconds."""


class PassedHeartbeats(Input, frozen=True):
    """POST /clients/signs (internal)."""

    signs: list[PassedHeartbeat]


class HeartbeatPassing:
    """Sends the registry's heartbeats to the primary; belongs to the manager's loop."""

    def __init__(
        self,
        clients: ClientRegistry,
        metadata: MetadataCopy,
        broker_client: BrokerClient,
        monotonic_s: Callable[[], float],
    ) -> None:
        """Send nothing yet.

        Args:
            clients: the registry of this manager.
            metadata: the copy that names the primary.
            broker_client: an open client of the same loop; it speaks for the cluster.
            monotonic_s: clock, in seconds.
        """
        self._clients = clients
        self._metadata = metadata
        self._broker_client = broker_client
        self._monotonic_s = monotonic_s
        self._failing = False

    async def pass_on(self) -> int:
        """Send the heartbeats since the last call; return how many the primary took.

        The others are kept for the next call. An error is logged once until a call succeeds again.
        """
        heartbeats = list(self._clients.take_heartbeats().items())
        taken = 0
        try:
            while taken < len(heartbeats):
                batch = heartbeats[taken : taken + HEARTBEATS_PER_CALL]
                await self._send(batch)
                taken += len(batch)
        except (QueueError, CallFailed) as error:
            if not self._failing:
                logger.warning("the primary takes no heartbeats of clients: %s", error)
            self._failing = True
        else:
            self._failing = False
        finally:
            self._clients.keep_heartbeats(dict(heartbeats[taken:]))
        return taken

    async def _send(self, heartbeats: list[tuple[ClientKey, float]]) -> None:
        primary = self._metadata.current.primary_address
        if not primary:
            raise CallFailed("no manager is the primary")
        now_s = self._monotonic_s()
        told = [
            PassedHeartbeat(
                type=_TYPES[key.kind],
                key=key.client_id,
                age_ms=max(0, int((now_s - at_s) * 1000)),
            )
            for key, at_s in heartbeats
        ]
        call = BrokerCall("POST", PATH, body=PassedHeartbeats(signs=told))
        await self._broker_client.call(primary, call, Done, timeout_s=CALL_TIMEOUT_S)


def take_heartbeats(clients: ClientRegistry, heartbeats: list[PassedHeartbeat]) -> None:
    """Record heartbeats that a read-only manager took."""
    for one in heartbeats:
        clients.note(ClientKey(KINDS[one.type], one.key), age_s=one.age_ms / 1000)
