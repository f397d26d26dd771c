"""A broker's calls to other brokers over HTTP, in the name of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import aiohttp
import msgspec

from http_base.cluster import MembersAnswer
from http_base.tokens import cluster_token
from myqueue.contract.errors import BrokerUnreachable, from_body
from myqueue.contract.inputs import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_app.storage.protocol import PeerAddress

CALL_TIMEOUT_SECONDS = 3.0
"""For one broker to answer."""


class PeerContact(Protocol):
    """What can be asked of other brokers."""

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

    def __init__(self, peers: Mapping[int, PeerAddress], secret: str) -> None:
        """Make a link.

        Args:
            peers: where brokers are, by broker id; read at each call.
            secret: the cluster's.
        """
        self._peers = peers
        self._headers = {
            "Authorization": f"Bearer {cluster_token(secret)}",
            "Accept": "application/json",
        }
        self._session: aiohttp.ClientSession | None = None

    async def members(self, broker_id: int, group_id: int) -> MembersAnswer:
        """Return who belongs to a group that another broker leads.

        Raises:
            BrokerUnreachable: it is not known where that broker is, or it does not answer.
            QueueError: what it refuses with.
        """
        peer = self._peers.get(broker_id)
        if peer is None:
            raise BrokerUnreachable(f"it is not known where broker {broker_id} is")
        url = f"{peer.http_address}/partitions/{group_id}/replicas"
        try:
            async with self._connections().get(url) as response:
                body = await response.read()
                if response.status != 200:
                    raise from_body(response.status, msgspec.json.decode(body))
                return msgspec.json.decode(body, type=MembersAnswer)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            why = str(error) or "timeout"
            raise BrokerUnreachable(f"broker {broker_id} at {url}: {why}") from error

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
        url = f"{address}/producer/produce"
        headers = {"Content-Type": BATCH}
        try:
            async with self._connections().post(
                url, data=batch, params=query, headers=headers
            ) as response:
                body = await response.read()
                if response.status != 200:
                    raise from_body(response.status, msgspec.json.decode(body))
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            why = str(error) or "timeout"
            raise BrokerUnreachable(f"the broker at {url}: {why}") from error

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        return self._session

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
