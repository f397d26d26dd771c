"""Drives many flows at once in one thread: while some wait for answers, others go on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from myqueue.transport.effects import Acquire, Ask, Await, Begin, Pause

if TYPE_CHECKING:
    import threading

    from myqueue.transport.blocking import Exchange, Transport
    from myqueue.transport.clock import Clock
    from myqueue.transport.effects import Effect, Flow
    from myqueue.transport.selfpipe import SelfPipe

logger = logging.getLogger(__name__)

LOCK_POLL_S = 0.01
"""How often a lock is tried that another thread holds.

A thread that waits for sockets is not woken by a lock. The only lock that a delivery waits for is
that of registering anew, which is rare and held for a manager's answer: 10 ms are little beside
that, and the thread polls during that time alone.
"""


class _Running:
    """A flow, and what it waits for: an answer, a time, or a lock."""

    def __init__(self, flow: Flow[Any]) -> None:
        self.flow = flow
        self.exchange: Exchange | None = None
        self.until_s: float | None = None
        self.lock: threading.Lock | None = None


class Pump:
    """Flows under way. Only one thread calls it.

    Args:
        transport: for their requests.
        clock: for their pauses.
        waker: ends the wait of `turn` from another thread.
    """

    def __init__(self, transport: Transport, clock: Clock, waker: SelfPipe) -> None:
        self._transport = transport
        self._clock = clock
        self._waker = waker
        self._running: list[_Running] = []

    @property
    def is_idle(self) -> bool:
        """True when no flow is under way."""
        return not self._running

    def start(self, flow: Flow[Any]) -> None:
        """Begin a flow; it goes on in `turn`."""
        running = _Running(flow)
        self._running.append(running)
        self._step(running, None, None)

    def turn(self, until_s: float | None = None) -> None:
        """Wait until a flow can go on or the waker is woken, and let those flows go on.

        Args:
            until_s: monotonic time at which the wait ends in any case.
        """
        exchanges = {one.exchange: one for one in self._running if one.exchange is not None}
        ready = self._transport.wait(
            list(exchanges), timeout_s=self._timeout_s(until_s), waker=self._waker
        )
        for exchange in ready:
            self._look(exchanges[exchange])
        now_s = self._clock.monotonic()
        for running in list(self._running):
            if running.lock is not None:
                self._try_lock(running)
            elif running.until_s is not None and running.until_s <= now_s:
                self._step(running, None, None)

    def close(self) -> None:
        """End every flow where it is; its clean-up decides what that means."""
        for running in self._running:
            running.flow.close()
        self._running.clear()

    def _timeout_s(self, until_s: float | None) -> float | None:
        if any(one.lock is not None for one in self._running):
            return LOCK_POLL_S
        times = [one.until_s for one in self._running if one.until_s is not None]
        if until_s is not None:
            times.append(until_s)
        return max(0.0, min(times) - self._clock.monotonic()) if times else None

    def _look(self, running: _Running) -> None:
        """Resume a flow whose answer is complete."""
        assert running.exchange is not None, "it waits for an answer"
        try:
            answer = running.exchange.answer(0.0)
        except BaseException as error:  # noqa: BLE001 - the flow is told, and raises it again
            self._step(running, None, error)
        else:
            if answer is not None:
                self._step(running, answer, None)

    def _try_lock(self, running: _Running) -> None:
        assert running.lock is not None, "it waits for a lock"
        if running.lock.acquire(blocking=False):
            self._step(running, True, None)

    def _step(self, running: _Running, result: Any, failure: BaseException | None) -> None:
        """Let a flow go on until it waits for something or ends."""
        running.exchange = running.until_s = running.lock = None
        flow = running.flow
        while True:
            try:
                effect = flow.send(result) if failure is None else flow.throw(failure)
            except StopIteration:
                self._running.remove(running)
                return
            except Exception:
                logger.exception("a flow failed in an unexpected way")
                self._running.remove(running)
                return
            result, failure = None, None
            try:
                if self._wait(running, effect):
                    return
            except BaseException as error:  # noqa: BLE001 - the flow is told, and raises it again
                failure = error
                continue
            result = self._result

    def _wait(self, running: _Running, effect: Effect) -> bool:
        """Carry out an effect; True when the flow has to wait, else `_result` is its result."""
        self._result: Any = None
        match effect:
            case Begin(address, request, timeout_s):
                self._result = self._transport.begin(address, request, timeout_s=timeout_s)
                return False
            case Ask(address, request, timeout_s):
                running.exchange = self._transport.begin(address, request, timeout_s=timeout_s)
            case Await(pending, patience_s):
                running.exchange = cast("Exchange", pending)
                if patience_s is not None:
                    running.until_s = self._clock.monotonic() + patience_s
            case Pause(seconds):
                running.until_s = self._clock.monotonic() + seconds
            case Acquire(lock, None):
                self._result = cast("threading.Lock", lock).acquire(blocking=False)
                if not self._result:
                    running.lock = cast("threading.Lock", lock)
                return not self._result
            case _:
                raise AssertionError(f"{effect} belongs to one thread")
        return True
