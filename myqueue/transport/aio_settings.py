"""What every client for event loops is made with."""

from __future__ import annotations

import asyncio

from myqueue.config import ClientConfig
from myqueue.transport.aio import AsyncTransport, make_async_transport
from myqueue.transport.clock import Clock, SystemClock
from myqueue.transport.managers import parse_addresses
from myqueue.transport.settings import Address, token_of


class AsyncSettings:
    """What every asyncio client is made with: settings, transport and clock, or their defaults."""

    make_lock = asyncio.Lock
    """For flows that the event loop drives."""

    def __init__(
        self,
        address: Address,
        config: ClientConfig | None,
        transport: AsyncTransport | None,
        clock: Clock | None,
    ) -> None:
        self.addresses = parse_addresses(address)
        self.config = config or ClientConfig()
        self.clock = clock or SystemClock()
        self.transport = transport or make_async_transport(
            self.addresses,
            connect_timeout_s=self.config.connect_timeout_ms / 1000,
            ca=self.config.ca,
            token=token_of(self.config),
        )
