"""The managers: several addresses of one control plane, tried in turn until one answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from myqueue.contract.errors import (
    OUTCOME_UNKNOWN,
    BrokerUnreachable,
    InvalidRequest,
    ManagerNotFound,
    QueueError,
    ReadOnlyManager,
)
from myqueue.contract.http1 import EXAMPLE_ADDRESS, split_address
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Ask, Flow, Pause
from myqueue.transport.retry import Attempts, RetryAction

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.contract.http1 import Answer, Request
    from myqueue.transport.clock import Clock

T = TypeVar("T")


def parse_addresses(address: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of a list or a comma separated text as `http://host:port`.

    Raises:
        InvalidRequest: one of them is no address, or there is none.
    """
    texts = address.split(",") if isinstance(address, str) else address
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(
            f"an address is a text like {EXAMPLE_ADDRESS}, or a list of them, not {address!r}",
            field="address",
        )
    found = [normal_address(text) for text in texts if text.strip()]
    if not found:
        raise InvalidRequest(f"{address!r} names no manager", field="address")
    return tuple(dict.fromkeys(found))


def normal_address(text: str) -> str:
    """Return an address as `scheme://host:port`.

    Raises:
        InvalidRequest: it is no address.
    """
    scheme, host, port = split_address(text.strip())
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Managers:
    """Calls to whichever manager answers; the one that did is asked first the next time. Pure."""

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        config: ClientConfig,
        clock: Clock,
    ) -> None:
        self.addresses = parse_addresses(address)
        self._config = config
        self._clock = clock
        self._first = 0

    @property
    def preferred(self) -> str:
        """The address that is asked first: that of the manager that answered last."""
        return self.addresses[self._first]

    def call(self, request: Request, *, timeout_s: float | None = None) -> Flow[dict[str, Any]]:
        """Do what `ask` does, for an answer in JSON or MessagePack."""
        return self.ask(request, read_body, timeout_s=timeout_s)

    def ask(
        self,
        request: Request,
        read: Callable[[Answer], T],
        *,
        timeout_s: float | None = None,
        repeatable: bool = True,
    ) -> Flow[T]:
        """Ask each manager at most once.

        Args:
            request: what to ask.
            read: turns an answer into the result, or raises its failure.
            timeout_s: for each answer.
            repeatable: True for a read, or a write that recognises its repetition; else nobody is
                asked any more once one manager may have acted.

        Raises:
            ManagerNotFound: none answered; `outcome` is unknown when one may have acted.
            QueueError: what the manager answered.
        """
        if timeout_s is None:
            timeout_s = (self._config.request_timeout_ms + self._config.answer_margin_ms) / 1000
        lost: BrokerUnreachable | None = None
        refusal: ReadOnlyManager | None = None
        for turn in range(len(self.addresses)):
            index = (self._first + turn) % len(self.addresses)
            try:
                found = yield from self._ask_one(self.addresses[index], request, read, timeout_s)
            except BrokerUnreachable as error:
                lost = error if lost is None or lost.outcome_known else lost
                if not (repeatable or error.outcome_known):
                    break
            except ReadOnlyManager as error:
                refusal = error
            else:
                self._first = index
                return found
        if refusal is not None and (lost is None or lost.outcome_known):
            raise refusal
        raise ManagerNotFound(
            f"no manager answered at {', '.join(self.addresses)}: {lost}",
            outcome=None if lost is None or lost.outcome_known else OUTCOME_UNKNOWN,
        ) from lost

    def call_once(
        self, request: Request, *, timeout_s: float | None = None
    ) -> Flow[dict[str, Any]]:
        """Do what `call` does for a write that must not happen twice."""
        return self.ask(request, read_body, timeout_s=timeout_s, repeatable=False)

    def call_patiently(
        self, request: Request, *, timeout_s: float | None = None
    ) -> Flow[dict[str, Any]]:
        """Ask until a manager answers or `manager_timeout_ms` is over.

        Raises:
            QueueError: the last failure; its `outcome` is unknown when an earlier try's was.
        """
        deadline_s = self._clock.monotonic() + self._config.manager_timeout_ms / 1000
        attempts = Attempts(self._config, deadline_s=deadline_s)
        while True:
            try:
                return (yield from self.call(request, timeout_s=timeout_s))
            except QueueError as error:
                decision = attempts.failed(
                    error, now_s=self._clock.monotonic(), jitter=self._clock.jitter()
                )
                if decision.step is not RetryAction.AGAIN:
                    raise attempts.verdict(error) from error
            yield Pause(decision.delay_s)

    def _ask_one(
        self, address: str, request: Request, read: Callable[[Answer], T], timeout_s: float
    ) -> Flow[T]:
        try:
            return read((yield Ask(address, request, timeout_s)))
        except ReadOnlyManager as error:
            primary = error.details.get("primary")
            if isinstance(primary, dict):
                primary = primary.get("address")
            if not isinstance(primary, str) or not primary:
                raise
            try:
                known = normal_address(primary)
            except InvalidRequest:
                raise error from None
            return read((yield Ask(known, request, timeout_s)))
