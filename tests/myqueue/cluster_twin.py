"""Managers and brokers in memory, with every way of failing at hand.

`MemoryTransport` calls them directly in virtual time; `http_twin.py` puts them behind real sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from myqueue.contract.errors import (
    BrokerUnreachable,
    CommitTimeout,
    MessageTooLarge,
    PartitionNotFound,
    QueueError,
)
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.inputs import BATCH, JSON, MAX_JSON_BODY_BYTES
from myqueue.contract.rules import group_membership
from myqueue.contract.rules.group_membership import Member
from myqueue.testing import transport as memory_transport
from myqueue.testing.api import MemoryApi
from myqueue.testing.state import MemoryState, decoded, failure, parsed
from myqueue.testing.transport import DroppedError, MemoryExchange
from tests.myqueue.fake_clock import FakeClock

__all__ = ["ClusterTwin", "DroppedError", "Fault", "MemoryExchange", "MemoryTransport"]


@dataclass
class Fault:
    """What happens to a request instead of, or after, what it asks for."""

    matches: Callable[[str, str], bool]
    """(address, path) -> whether it is hit."""
    error: QueueError | None = None
    """The answer; None drops the connection."""
    applied: bool = False
    """True: the request takes effect first."""
    times: int = 1


class TwinState(MemoryState):
    """A cluster whose brokers may be away, and whose manager may be wrong about leaders."""

    def __init__(self, manager: str, brokers: list[str]) -> None:
        super().__init__(manager, brokers)
        self.down: set[str] = set()
        self.stale_leaders: dict[tuple[str, int], str] = {}
        """What the manager still says about a partition's leader."""

    def is_down(self, address: str) -> bool:
        return address in self.down

    def leader_for_clients(self, topic: str, partition: int) -> str:
        known = super().leader_for_clients(topic, partition)
        return self.stale_leaders.get((topic, partition), known)


class ClusterTwin(MemoryApi):
    """The whole cluster."""

    def __init__(
        self, manager: str = "http://manager:80", brokers: list[str] | None = None
    ) -> None:
        state = TwinState(manager, brokers or [f"http://broker-{n}:80" for n in "123"])
        super().__init__(state)
        self.manager, self.brokers, self.create = state.manager, state.brokers, state.create
        self.topics, self.clients, self.expired = state.topics, state.clients, state.expired
        self._twin_state, self.stale_leaders = state, state.stale_leaders
        self.stopped: set[str] = set()
        """Brokers that take requests and do not answer."""
        self.emptied: set[str] = set()
        """Brokers that have no replica of any partition any more."""
        self.faults: list[Fault] = []
        self.odd: dict[str, str] = {}
        """Path -> JSON that is answered there with status 200, whatever is asked."""
        self.amended: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        """Path -> what becomes of an answer there."""
        self.chaos: Random | None = None
        self.requests: list[tuple[str, str, str]] = []
        self.bodies: list[Request] = []
        self.beats: list[tuple[int, int]] = []

    # Setting the scene

    def fail(
        self,
        path: str,
        error: QueueError | None = None,
        *,
        applied: bool = False,
        times: int = 1,
        at: str | None = None,
    ) -> None:
        """Have the next requests for a path fail."""
        self.faults.append(
            Fault(
                lambda address, asked: asked == path and at in (None, address),
                error,
                applied=applied,
                times=times,
            )
        )

    def asked(self, path: str) -> list[str]:
        """Return the addresses that were asked for a path, in order."""
        return [address for address, _, asked in self.requests if asked == path]

    def messages(self, topic: str) -> list[str | bytes]:
        return [value for partition in self.topics[topic] for value in partition.values]

    @property
    def down(self) -> set[str]:
        """Servers that cannot be reached."""
        return self._twin_state.down

    @down.setter
    def down(self, addresses: set[str]) -> None:
        self._twin_state.down = addresses

    def members_of(self, group: str) -> Mapping[str, Member]:
        return self.groups.by_name[group].state.members

    def lose_members(self, name: str, *member_ids: str) -> None:
        """Let members of a group go as if they had been silent."""
        group = self.groups.by_name[name]
        group.state = group_membership.leave(group.state, member_ids)

    # Answering

    def is_held(self, address: str, request: Request) -> int:
        return 0 if address in self.emptied else super().is_held(address, request)

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request.

        Raises:
            DroppedError: the connection breaks before an answer.
        """
        request = parsed(request)
        self.requests.append((address, request.method, request.path))
        self.bodies.append(request)
        self._check_library(address, request)
        if request.path in self.odd:
            return Answer(200, {"content-type": JSON}, self.odd[request.path].encode())
        fault = self._fault(address, request.path)
        if fault is None:
            refusal = self._refusal(address, request)
            return self._carry_out(address, request) if refusal is None else failure(refusal)
        if fault.applied:
            answer = self._carry_out(address, request)
            if answer.status >= 400:
                return answer
        if fault.error is None:
            raise DroppedError
        return failure(fault.error)

    def _carry_out(self, address: str, request: Request) -> Answer:
        if address == self.manager and request.path == "/health":
            query = request.query or {}
            self.beats.append((int(query["type"]), int(query["key"])))
        answer = super().handle(address, request)
        amend = self.amended.get(request.path)
        if amend is None or answer.status != 200:
            return answer
        body = amend(msgspec.msgpack.decode(answer.body))
        return answer._replace(body=msgspec.msgpack.encode(body))

    def _check_library(self, address: str, request: Request) -> None:
        """Check what the library promises and the API does not demand."""
        if request.path == "/producer/produce" and request.content_type == BATCH:
            short = address == self.manager and len(request.body) < MAX_JSON_BODY_BYTES // 2
            assert not short, "a manager gets a list where it can: earlier ones take no batches"
        if request.path == "/consumer/consume" and request.content_type != JSON:
            body = decoded(request)
            if "partitions" in body:
                assert not body["max_messages"], "it looks at several, and pops from one"
                return
            missing = {"partition", "request_id", "max_messages"} - body.keys()
            assert not missing, f"the library names {missing}"

    def _refusal(self, address: str, request: Request) -> QueueError | None:
        too_long = request.content_type != BATCH and len(request.body) > MAX_JSON_BODY_BYTES
        if address == self.manager and too_long:
            return MessageTooLarge(f"a manager takes no body of {len(request.body)} bytes")
        if address in self.emptied and request.path != "/partitions":
            return PartitionNotFound("this broker has no replica of it")
        return None

    def _fault(self, address: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.matches(address, path):
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                return fault
        if self.chaos is not None and self.chaos.random() < 0.3:
            return self._chaotic_fault(self.chaos)
        return None

    def _chaotic_fault(self, chance: Random) -> Fault:
        for partitions in self.topics.values():
            for partition in partitions:
                if chance.random() < 0.3:
                    partition.leader = chance.choice(self.brokers)
        applied = chance.random() < 0.5
        return Fault(lambda *_: True, chance.choice([None, CommitTimeout()]), applied=applied)


class VirtualHost:
    """The twin in the time of a fake clock."""

    def __init__(self, twin: ClusterTwin, clock: FakeClock) -> None:
        self._twin = twin
        self._clock = clock

    def reach(self, address: str) -> None:
        twin = self._twin
        if address in twin.down or address not in (twin.manager, *twin.brokers):
            raise BrokerUnreachable(f"no connection to {address}")

    def handle(self, address: str, request: Request) -> Answer:
        if address in self._twin.down or address in self._twin.stopped:
            raise DroppedError
        return self._twin.handle(address, request)

    def held_ms(self, address: str, request: Request) -> int:
        if address in self._twin.stopped:
            return 3_600_000
        return 0 if address in self._twin.down else self._twin.is_held(address, request)

    def now_s(self) -> float:
        return self._clock.now_s

    def wait(self, predicate: Callable[[], bool], timeout_s: float | None) -> bool:
        return self._clock.wait(predicate, 3_600.0 if timeout_s is None else timeout_s)


class MemoryTransport(memory_transport.MemoryTransport):
    """The client's seam, straight into the twin, in virtual time."""

    def __init__(self, twin: ClusterTwin, clock: FakeClock) -> None:
        super().__init__(VirtualHost(twin, clock))
        self.twin = twin
        self.clock = clock
        self.begun: list[MemoryExchange] = []

    def begin(self, address: str, request: Request, *, timeout_s: float) -> MemoryExchange:
        exchange = super().begin(address, request, timeout_s=timeout_s)
        self.begun.append(exchange)
        return exchange
