"""A broker's calls to other brokers over HTTP, in the name of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from http_base.cluster import MembersAnswer
from http_base.cluster_http import CallFailed, ClusterCall, ClusterHttp
from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.inputs import JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from http_base.tls import Tls
    from raft_app.storage.protocol import PeerAddress

CALL_TIMEOUT_SECONDS = 3.0
"""For one broker to answer."""


class PeerContact(Protocol):
    """The calls to other brokers."""

    async def members(self, broker_id: int, group_id: int) -> MembersAnswer:
        """Return who belongs to a group that another broker leads.

        Raises:
            QueueError: it does not lead, or does not answer.
        """

    async def produce(self, address: str, batch: bytes, query: Mapping[str, str]) -> None:
        """Append a batch at a broker that may lead the partition.

        Raises:
            QueueError: it does not lead, refuses, or does not answer.
        """


class PeerLink:
    """Asks other brokers; lives in the engine's loop."""

    def __init__(
        self, peers: Mapping[int, PeerAddress], secret: str, *, tls: Tls | None = None
    ) -> None:
        """Make a link.

        Args:
            peers: where brokers are, by broker id; read at each call.
            secret: the cluster's.
            tls: of this process.
        """
        self._peers = peers
        self._http = ClusterHttp(secret, tls=tls)

    async def members(self, broker_id: int, group_id: int) -> MembersAnswer:
        """Return who belongs to a group that another broker leads.

        Raises:
            BrokerUnreachable: it is not known where that broker is, or it does not answer.
            QueueError: what it refuses with.
        """
        peer = self._peers.get(broker_id)
        if peer is None:
            raise BrokerUnreachable(f"it is not known where broker {broker_id} is")
        call = ClusterCall("GET", f"/partitions/{group_id}/replicas", accept=JSON)
        try:
            answer = await self._http.call(peer.http_address, call, timeout_s=CALL_TIMEOUT_SECONDS)
            return answer.read(MembersAnswer)
        except CallFailed as error:
            raise BrokerUnreachable(f"broker {broker_id}: {error}") from error

    async def produce(self, address: str, batch: bytes, query: Mapping[str, str]) -> None:
        """Append a batch at a broker that may lead the partition.

        Args:
            address: `http://host:port` of the broker.
            batch: encoded.
            query: topic, partition, producer_id, timeout_ms.

        Raises:
            BrokerUnreachable: it does not answer; the batch may be appended all the same.
            QueueError: what it refuses with.
        """
        call = ClusterCall("POST", "/producer/produce", query=query, batch=batch, accept=JSON)
        try:
            await self._http.call(address, call, timeout_s=CALL_TIMEOUT_SECONDS)
        except CallFailed as error:
            raise BrokerUnreachable(f"a broker is out of reach: {error}") from error

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.close()
