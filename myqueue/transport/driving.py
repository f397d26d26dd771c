"""Driving one flow in the calling thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from myqueue.transport.effects import Acquire, Ask, Await, AwaitAny, Begin, Pause

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from myqueue.transport.blocking import Exchange, Transport
    from myqueue.transport.clock import Clock
    from myqueue.transport.effects import Effect, Flow

T = TypeVar("T")


def drive(flow: Flow[T], transport: Transport, clock: Clock) -> T:
    """Carry out a flow's effects one after the other and return its result.

    Args:
        flow: at its beginning.
        transport: for its requests.
        clock: for its pauses.

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
            result = perform(effect, transport, clock)
        except BaseException as error:  # noqa: BLE001 - the flow is told, and raises it again
            failure = error


def perform(effect: Effect, transport: Transport, clock: Clock) -> Any:
    """Carry out one effect, blocking, and return its result."""
    match effect:
        case Ask(address, request, timeout_s):
            return transport.request(address, request, timeout_s=timeout_s)
        case Begin(address, request, timeout_s):
            return transport.begin(address, request, timeout_s=timeout_s)
        case Await(pending, patience_s):
            exchange: Any = pending  # an `Exchange` of this transport's
            return exchange.answer(patience_s)
        case AwaitAny(pendings, timeout_s):
            return transport.wait(cast("Sequence[Exchange]", pendings), timeout_s=timeout_s)
        case Pause(seconds):
            clock.sleep(seconds)
        case Acquire(lock, timeout_s):
            return cast("threading.Lock", lock).acquire(
                timeout=-1 if timeout_s is None else max(0.0, timeout_s)
            )
    return None
