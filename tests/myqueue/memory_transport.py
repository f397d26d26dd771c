"""The client's transport without sockets: requests go straight into the twin, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from myqueue.errors import BrokerUnreachable
from tests.myqueue.faults import DroppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.http1 import Answer, Request
    from tests.myqueue.cluster_twin import ClusterTwin
    from tests.myqueue.fake_clock import FakeClock


class MemoryExchange:
    """A request that is answered when somebody looks."""

    def __init__(self, transport: MemoryTransport, address: str, request: Request) -> None:
        self.transport = transport
        self.address = address
        self.request = request
        self.cancelled = False

    def is_answered(self) -> bool:
        """Ask again without waiting: a held request answers when there is something."""
        query = dict(self.request.query or {})
        query.pop("wait_ms", None)
        try:
            answer = self.transport.request(
                self.address, self.request._replace(query=query), timeout_s=1
            )
        except BrokerUnreachable:
            return True
        return answer.status >= 400 or msgspec.msgpack.decode(answer.body)["size"] > 0

    def finish(self) -> Answer:
        query = {**(self.request.query or {}), "wait_ms": 0}
        return self.transport.request(self.address, self.request._replace(query=query), timeout_s=1)

    def cancel(self) -> None:
        self.cancelled = True


class MemoryTransport:
    """The client's seam, straight into the twin, in virtual time."""

    def __init__(self, twin: ClusterTwin, clock: FakeClock) -> None:
        self.twin = twin
        self.clock = clock
        self.closed = False
        self.begun: list[MemoryExchange] = []
        twin.wait = clock.wait

    def request(self, address: str, request: Request, *, timeout_s: float) -> Answer:
        if address in self.twin.down or address not in (self.twin.manager, *self.twin.brokers):
            raise BrokerUnreachable(f"no connection to {address}")
        try:
            return self.twin.handle(address, request)
        except DroppedError as error:
            raise BrokerUnreachable(f"no answer from {address}", outcome="unknown") from error

    def begin(self, address: str, request: Request, *, timeout_s: float) -> MemoryExchange:
        if address in self.twin.down:
            raise BrokerUnreachable(f"no connection to {address}")
        exchange = MemoryExchange(self, address, request)
        self.begun.append(exchange)
        return exchange

    def wait(
        self, exchanges: Sequence[MemoryExchange], *, timeout_s: float
    ) -> list[MemoryExchange]:
        answered: list[MemoryExchange] = []

        def some() -> bool:
            answered[:] = [exchange for exchange in exchanges if exchange.is_answered()]
            return bool(answered)

        self.clock.wait(some, timeout_s)
        return answered

    def close(self) -> None:
        self.closed = True

    def restart(self) -> None:
        self.closed = False
