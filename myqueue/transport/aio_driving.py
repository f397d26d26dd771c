"""Driving flows in an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from myqueue.contract.errors import BrokerUnreachable
from myqueue.transport.effects import Acquire, Ask, Await, AwaitAny, Begin, Pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.transport.aio import AsyncExchange, AsyncTransport
    from myqueue.transport.effects import Effect, Flow

T = TypeVar("T")


async def drive_async(flow: Flow[T], transport: AsyncTransport) -> T:
    """Carry out a flow's effects one after the other and return its result.

    A cancelled task throws into the flow, whose clean-up decides what that means.

    Args:
        flow: at its beginning.
        transport: for its requests.

    Raises:
        BaseException: what the flow raises.
    """
    result: Any = None
    failure: BaseException | None = None
    while True:
        try:
            effect = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as end:
            value: T = end.value
            return value
        result, failure = None, None
        try:
            result = await _perform(effect, transport)
        except BaseException as error:  # noqa: BLE001 - the flow is told, and raises it again
            failure = error


async def _perform(effect: Effect, transport: AsyncTransport) -> Any:
    match effect:
        case Ask(address, request, timeout_s):
            begin = Begin(address, request, timeout_s, connect_s=timeout_s)
            return await _answer(await _perform(begin, transport))
        case Begin(address, request, timeout_s, connect_s):
            try:
                async with asyncio.timeout(connect_s):
                    return await transport.begin(address, request, timeout_s=timeout_s)
            except TimeoutError as error:
                raise BrokerUnreachable(f"no connection to {address} in time") from error
        case Await(pending, patience_s):
            return await cast("AsyncExchange", pending).answer(patience_s)
        case AwaitAny(pendings, timeout_s):
            exchanges = cast("Sequence[AsyncExchange]", pendings)
            return await transport.wait(exchanges, timeout_s=timeout_s)
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Acquire(lock, limit_s):
            return await _acquire(cast("asyncio.Lock", lock), limit_s)
    return None


async def _answer(exchange: AsyncExchange) -> Any:
    try:
        return await exchange.answer()
    except asyncio.CancelledError:
        exchange.cancel()
        raise


async def _acquire(lock: asyncio.Lock, timeout_s: float | None) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await lock.acquire()
    except TimeoutError:
        return False
