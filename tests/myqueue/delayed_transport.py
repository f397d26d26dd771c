"""Requests that take effect late and are answered later, in any order, or are lost on the way."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from myqueue.contract.errors import OUTCOME_UNKNOWN, BrokerUnreachable
from myqueue.testing.transport import DroppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.contract.http1 import Answer, Request
    from myqueue.transport.selfpipe import SelfPipe
    from tests.myqueue.cluster_twin import ClusterTwin
    from tests.myqueue.fake_clock import FakeClock

LONGEST_S = 0.05


class DelayedExchange:
    """A request on its way; it may take effect long after its answer was given up."""

    def __init__(self, transport: DelayedTransport, address: str, deadline_s: float) -> None:
        self.transport = transport
        self.address = address
        self.deadline_s = deadline_s
        self.result: Answer | BrokerUnreachable | None = None

    def look(self) -> bool:
        if self.result is None and self.transport.clock.now_s >= self.deadline_s:
            self.result = BrokerUnreachable("no answer in time", outcome=OUTCOME_UNKNOWN)
        return self.result is not None

    def answer(self, patience_s: float | None = None) -> Answer | None:
        clock = self.transport.clock
        remaining_s = max(0.0, self.deadline_s - clock.now_s)
        patience_s = remaining_s if patience_s is None else min(patience_s, remaining_s)
        clock.wait(self.look, patience_s)
        if isinstance(self.result, BrokerUnreachable):
            raise self.result
        return self.result

    def cancel(self) -> None:
        """The request goes on."""


class DelayedTransport:
    """The seam in virtual time.

    Args:
        loss: share of requests, and again of answers, that are lost.
        stalls: share of requests whose connection breaks and that take effect seconds later.
    """

    def __init__(
        self, twin: ClusterTwin, clock: FakeClock, chance: Random, *, loss: float, stalls: float
    ) -> None:
        self.twin = twin
        self.clock = clock
        self.chance = chance
        self.loss = loss
        self.stalls = stalls
        self.out = 0
        self.most_out = 0

    def begin(self, address: str, request: Request, *, timeout_s: float) -> DelayedExchange:
        if address in self.twin.down:
            raise BrokerUnreachable(f"no connection to {address}")
        exchange = DelayedExchange(self, address, self.clock.now_s + timeout_s)
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        delay_s = self.chance.random() * LONGEST_S
        if self.chance.random() < self.stalls:
            self.clock.after(delay_s, lambda: self._lose(exchange))
            delay_s += self.chance.random() * 3
        if self.chance.random() >= self.loss:
            self.clock.after(delay_s, lambda: self._arrive(exchange, request))
        else:
            self.clock.after(delay_s, lambda: self._lose(exchange))
        return exchange

    def _arrive(self, exchange: DelayedExchange, request: Request) -> None:
        try:
            answer = self.twin.handle(exchange.address, request)
        except DroppedError:
            self._lose(exchange)
            return
        if self.chance.random() < self.loss:
            self._lose(exchange)
            return

        def told() -> None:
            self._finish(exchange, answer)

        self.clock.after(self.chance.random() * LONGEST_S, told)

    def _lose(self, exchange: DelayedExchange) -> None:
        lost = BrokerUnreachable("the connection broke", outcome=OUTCOME_UNKNOWN)
        self._finish(exchange, lost)

    def _finish(self, exchange: DelayedExchange, result: Answer | BrokerUnreachable) -> None:
        if exchange.result is None:
            self.out -= 1
            exchange.result = result

    def request(self, address: str, request: Request, *, timeout_s: float) -> Answer:
        answer = self.begin(address, request, timeout_s=timeout_s).answer()
        assert answer is not None
        return answer

    def wait(
        self,
        exchanges: Sequence[DelayedExchange],
        *,
        timeout_s: float | None,
        waker: SelfPipe | None = None,
    ) -> list[DelayedExchange]:
        dues = [exchange.deadline_s - self.clock.now_s for exchange in exchanges]
        wait_s = min([*dues, *([] if timeout_s is None else [timeout_s])], default=0.0)
        self.clock.wait(lambda: any(one.look() for one in exchanges), max(0.0, wait_s))
        return [exchange for exchange in exchanges if exchange.look()]

    def close(self) -> None:
        pass

    def restart(self) -> None:
        pass
