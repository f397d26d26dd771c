"""A manager's HTTP calls to brokers: connections per broker, a time limit on each call.

Long polls are limited per broker and have connections of their own, so that neither a write nor an
order waits behind one.

A call fails in one of three ways: with the error that the broker answered, before the request was
sent (`NotSent`), or after it (`OutcomeUnknown`). None of them marks the broker as dead; but a call
that may do without an answer is not sent to a broker of which others wait in vain (`Silences`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from http_base.cluster_http import (
    CallFailed,
    ClusterCall,
    ClusterHttp,
    NotSent,
    Unreadable,
    is_silent,
)
from http_base.request_marks import Waiting
from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded, QueueError, from_body
from myqueue.contract.inputs import BATCH, BATCH_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from http_base.cluster_http import ClusterAnswer, ForwardedCall
    from http_base.tls import Tls
    from manager_app.metadata import MetadataCopy

_A = TypeVar("_A", bound=msgspec.Struct)
_NOT_COUNTED = nullcontext()
logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 1.0
"""To get a connection to a broker, also when many calls want one at once. Brokers are in the same
network: one that does not accept within a second is down or cut off."""
CONNECT_SHARE = 0.8
"""Of a call's own limit, when that is shorter: a call that never left is not taken for one that got
no answer."""
CONNECTIONS_PER_BROKER = 1_000
"""For calls that are not long polls; beyond it a call waits for a free one, and fails as not sent
when its time is over. A thousand is far above what a broker answers at once: it bounds the
sockets of a manager whose broker hangs."""
WAITING_CALLS_PER_BROKER = 2_000
"""Long polls, each with a connection of its own beside those; beyond it OVERLOADED."""
SILENT_S = 1.0
"""For so long a broker has to have been waited for in vain to count as silent."""
REMEMBERED_S = 10.0
"""How long it does after the last call that it did not answer. A manager's watch asks every broker
every 5 s, for 2 s, and so renews this or ends it."""


@dataclass(frozen=True)
class BrokerCall(ClusterCall):
    """One call of a broker's HTTP API."""

    wait_ms: int = 0
    """How long the broker may hold the call (a long poll) before it begins with its work."""
    asks_silent: bool = True
    """False: it fails at once, as `Silent`, where a silent broker would be waited for."""


class Silent(NotSent):
    """The broker has not answered for a while, and was not asked."""


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in `BATCH`: record batches as they came, and the offsets of the headers."""

    batches: bytes
    next_offset: int
    high_watermark: int
    log_start_offset: int


@dataclass
class _Unanswered:
    """Calls of one broker that were waited for in vain since its last answer."""

    first_s: float
    """When the first of them began."""
    last_s: float
    """When the last of them was given up."""


class Silences:
    """Which brokers were asked and have said nothing since; times are monotonic."""

    def __init__(self) -> None:
        """Know of none."""
        self._unanswered: dict[str, _Unanswered] = {}

    def heard(self, address: str) -> None:
        """Note an answer."""
        self._unanswered.pop(address, None)

    def missed(self, address: str, began_s: float, ended_s: float) -> None:
        """Note that an answer was waited for in vain."""
        known = self._unanswered.setdefault(address, _Unanswered(began_s, ended_s))
        known.first_s = min(known.first_s, began_s)
        known.last_s = max(known.last_s, ended_s)

    def has(self, address: str, now_s: float) -> bool:
        """Tell whether a broker is silent."""
        known = self._unanswered.get(address)
        return (
            known is not None
            and known.last_s - known.first_s >= SILENT_S
            and now_s - known.last_s < REMEMBERED_S
        )


class BrokerClient:
    """Calls brokers in the name of the cluster; lives in one event loop."""

    def __init__(self, secret: str, *, tls: Tls | None = None) -> None:
        """Make a client without connections; `open` it in the loop.

        Args:
            secret: of the cluster; every call carries a token signed with it.
            tls: of this process.
        """
        self._tls = tls
        self._secret = secret
        self._http: ClusterHttp | None = None
        self._waiting: Counter[str] = Counter()
        self.silences = Silences()

    async def open(self) -> None:
        """Make the connection pool, which belongs to the running loop."""
        self._http = ClusterHttp(
            self._secret,
            connections_per_server=CONNECTIONS_PER_BROKER + WAITING_CALLS_PER_BROKER,
            tls=self._tls,
        )

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def call(
        self, address: str, call: BrokerCall, answer_type: type[_A], *, timeout_s: float
    ) -> _A:
        """Return the answer of a call that succeeded.

        Args:
            address: `http://host:port` of the broker, or of the primary manager.
            call: method, path and fields.
            answer_type: of a success; `BatchAnswer` of one in `BATCH`.
            timeout_s: for all of it, in seconds: the connection, what `call.wait_ms` holds, the
                answer.

        Raises:
            Overloaded: too many calls wait at this broker; this one was not sent.
            QueueError: what the broker answered.
            Silent: the broker is silent, and this call does not wait for such.
            NotSent: no connection could be made, or none was free in time.
            OutcomeUnknown: the connection broke, or no answer came in time.
        """
        assert self._http is not None, "call inside open() and close()"
        connect_s = min(CONNECT_TIMEOUT_S, timeout_s * CONNECT_SHARE)
        began_s = time.monotonic()
        if not call.asks_silent and self.silences.has(address, began_s):
            raise Silent(f"{address} has not answered for a while, and was not asked")
        with self._place(address, call):
            try:
                answer = await self._http.call(
                    address, call, timeout_s=timeout_s, connect_timeout_s=connect_s
                )
                self.silences.heard(address)
                return _read(answer, answer_type)
            except Unreadable as error:
                raise from_body(error.status, None) from error
            except QueueError:
                self.silences.heard(address)
                raise
            except CallFailed as error:
                # One that fails sooner, as of a process that is not there, costs nobody any time.
                ended_s = time.monotonic()
                if is_silent(error) and ended_s - began_s >= connect_s:
                    self.silences.missed(address, began_s, ended_s)
                raise

    def is_silent(self, address: str) -> bool:
        """Tell whether a broker is waited for in vain; any thread may ask."""
        return self.silences.has(address, time.monotonic())

    async def forward(
        self, address: str, call: ForwardedCall, *, timeout_s: float
    ) -> ClusterAnswer:
        """Return the answer of another manager to a call that came here, whatever it says.

        Raises:
            NotSent: no connection could be made, or none was free in time.
            OutcomeUnknown: the connection broke, or no answer came in time.
        """
        assert self._http is not None, "call inside open() and close()"
        return await self._http.forward(
            address, call, timeout_s=timeout_s, connect_timeout_s=CONNECT_TIMEOUT_S
        )

    def _place(self, address: str, call: BrokerCall) -> AbstractContextManager[None]:
        """Return what counts a long poll while it is at its broker."""
        return self._waits_at(address) if call.wait_ms else _NOT_COUNTED

    @contextmanager
    def _waits_at(self, address: str) -> Iterator[None]:
        if self._waiting[address] >= WAITING_CALLS_PER_BROKER:
            raise Overloaded(
                f"{self._waiting[address]} calls of this manager wait at one broker already; try"
                " again, or with wait_ms=0",
                retry_after_ms=retry_after.PASSED_CALLS_MS,
            )
        self._waiting[address] += 1
        try:
            with Waiting():
                yield
        finally:
            self._waiting[address] -= 1


class BrokerContact:
    """Calls brokers by their id; a call that fails is logged, and ends nothing else."""

    def __init__(self, metadata: MetadataCopy, broker_client: BrokerClient) -> None:
        """Make a contact without calling anybody.

        Args:
            metadata: the addresses of brokers.
            broker_client: an open client of the same loop.
        """
        self._metadata = metadata
        self._broker_client = broker_client
        self._silent: set[int] = set()
        """Brokers of which the log says that they do not answer."""

    async def ask(
        self,
        broker_id: int,
        call: BrokerCall,
        answer_type: type[_A],
        *,
        timeout_s: float,
        silent: set[int] | None = None,
        log_level: int = logging.INFO,
    ) -> _A | None:
        """Call a broker, unless it is unknown or among the silent ones.

        Args:
            broker_id: where to.
            call: method, path and fields.
            answer_type: of a success.
            timeout_s: for all of it, in seconds.
            silent: ids of brokers that did not answer in this round, and are not called again:
                each call would hold the round up for `timeout_s`. This broker is added when it
                does not answer.
            log_level: of the line that says what failed; a broker that does not answer gets one
                until it answers again.

        Returns:
            Its answer; None when it refused, did not answer, or was not called.
        """
        address = self._metadata.address_of(broker_id)
        if address is None or (silent is not None and broker_id in silent):
            return None
        try:
            answer = await self._broker_client.call(address, call, answer_type, timeout_s=timeout_s)
        except (QueueError, CallFailed) as error:
            if is_silent(error):
                if silent is not None:
                    silent.add(broker_id)
                if broker_id in self._silent:
                    log_level = logging.DEBUG
                self._silent.add(broker_id)
            logger.log(
                log_level,
                "broker %d did not take %s %s: %s",
                *(broker_id, call.method, call.path, error),
            )
            return None
        if broker_id in self._silent:
            self._silent.discard(broker_id)
            logger.info("broker %d answers again", broker_id)
        return answer

    def silent(self) -> frozenset[int]:
        """Return the ids of the brokers that are waited for in vain; any thread may ask."""
        return frozenset(
            broker_id
            for broker_id, broker in self._metadata.current.brokers.items()
            if self._broker_client.is_silent(broker.address)
        )


def _read(answer: ClusterAnswer, answer_type: type[_A]) -> _A:
    if answer.content_type != BATCH:
        return answer.read(answer_type)
    numbers = {
        name: int(answer.headers.get(header.lower(), -1)) for name, header in BATCH_HEADERS.items()
    }
    return msgspec.convert({"batches": answer.body, **numbers}, answer_type)
