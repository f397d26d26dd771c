"""The administrator's client for event loops: `Client`, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from myqueue.client import Client

if TYPE_CHECKING:
    from types import TracebackType

    from myqueue.config import ClientConfig
    from myqueue.transport.blocking import Transport
    from myqueue.transport.clock import Clock
    from myqueue.transport.settings import Address, AddressNames

T = TypeVar("T")
P = ParamSpec("P")


def _awaited(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Return a method of `Client` as one to await; such rare calls run in a thread."""

    @wraps(method)
    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self._client, *args, **kwargs)

    return call


class AsyncClient:
    """The same as `Client`, for one event loop. A call that is cancelled may still be carried out.

    Args: those of `Client`. Raises what it raises.
    """

    def __init__(
        self,
        address: Address | None = None,
        *,
        config: ClientConfig | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        **names: Unpack[AddressNames],
    ) -> None:
        self._client = Client(address, config=config, transport=transport, clock=clock, **names)

    # Topics

    create_topic = _awaited(Client.create_topic)
    update_topic = _awaited(Client.update_topic)
    list_topics = _awaited(Client.list_topics)
    describe_topic = _awaited(Client.describe_topic)
    purge_topic = _awaited(Client.purge_topic)
    delete_topic = _awaited(Client.delete_topic)

    # Brokers

    list_brokers = _awaited(Client.list_brokers)
    describe_brokers = _awaited(Client.describe_brokers)
    add_broker = _awaited(Client.add_broker)
    drain_broker = _awaited(Client.drain_broker)
    undrain_broker = _awaited(Client.undrain_broker)
    hand_over = _awaited(Client.hand_over)
    describe_rebalance = _awaited(Client.describe_rebalance)
    start_rebalance = _awaited(Client.start_rebalance)
    pause_rebalance = _awaited(Client.pause_rebalance)
    cancel_rebalance = _awaited(Client.cancel_rebalance)

    # Clients, groups and dead letters

    list_clients = _awaited(Client.list_clients)
    forget_client = _awaited(Client.forget_client)
    consumer_sizes = _awaited(Client.consumer_sizes)
    list_groups = _awaited(Client.list_groups)
    describe_groups = _awaited(Client.describe_groups)
    describe_group = _awaited(Client.describe_group)
    reset_group = _awaited(Client.reset_group)
    delete_group = _awaited(Client.delete_group)
    list_dead_letters = _awaited(Client.list_dead_letters)
    peek_dead_letters = _awaited(Client.peek_dead_letters)
    redrive = _awaited(Client.redrive)

    # Events and access

    list_events = _awaited(Client.list_events)
    list_tokens = _awaited(Client.list_tokens)
    create_token = _awaited(Client.create_token)
    revoke_token = _awaited(Client.revoke_token)

    def __repr__(self) -> str:
        """Return the kind of client, and where its managers are."""
        return f"<Async{repr(self._client)[1:]}"

    async def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
