"""Waits at several partitions at once, without a thread or a request for each.

At each broker one call is held for all partitions there, and at a manager for those whose leaders
are out of reach. It is answered as soon as one of them has messages, and names those that have. As
long as it is not answered they are all empty, and need not be asked. Partitions where nothing can
be held are asked again after a short pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.errors import QueueError
from myqueue.contract.inputs import MAX_LISTED_PARTITIONS
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Await, AwaitAny, Flow, Pause, Pending

if TYPE_CHECKING:
    from myqueue.transport.rotation import TopicPartition

HELD_MAX = MAX_LISTED_PARTITIONS
"""Most partitions that are waited at; the others are asked in between."""
PAUSE_S = 0.2
"""How long to wait before partitions are asked that nothing is held for."""


class _Held(NamedTuple):
    """A call that is held at a server."""

    pending: Pending
    places: set[TopicPartition]


class EmptyPartitions:
    """The calls that one reader has held at servers. Only one flow at a time uses it.

    Args:
        find: a flow that returns the address of the server to ask for a partition.
        begin: a flow that sends the call for some partitions to the server at an address.
    """

    def __init__(
        self,
        find: Callable[[TopicPartition], Flow[str]],
        begin: Callable[[str, list[TopicPartition]], Flow[Pending]],
    ) -> None:
        self._find = find
        self._begin = begin
        self._open: dict[str, _Held] = {}
        """By address."""
        self._empty: set[TopicPartition] = set()
        """Those that the last answers said to have nothing."""
        self._failed: set[str] = set()
        """Addresses whose last call failed: their partitions are asked before the next one."""

    def quiet(self, partitions: list[TopicPartition]) -> Flow[set[TopicPartition]]:
        """Return the partitions that are known to be empty."""
        yield from self._collect(0.0)
        return (self._waited_at() | self._empty) & set(partitions)

    def wait(self, partitions: list[TopicPartition], timeout_s: float) -> Flow[None]:
        """Return when one of the partitions may have messages, or when the time is over."""
        self._empty.clear()
        held = partitions[:HELD_MAX]
        for address, call in list(self._open.items()):
            if not call.places.issubset(held):
                self._give_up(address)
        is_held = yield from self._hold(held)
        if not is_held or len(held) < len(partitions):
            timeout_s = min(timeout_s, PAUSE_S)
        if self._open:
            yield from self._collect(timeout_s)
        else:
            yield Pause(timeout_s)

    def close(self) -> None:
        """Give every call up."""
        for address in list(self._open):
            self._give_up(address)

    def _waited_at(self) -> set[TopicPartition]:
        return {where for call in self._open.values() for where in call.places}

    def _give_up(self, address: str) -> set[TopicPartition]:
        call = self._open.pop(address)
        call.pending.cancel()
        return call.places

    def _hold(self, partitions: list[TopicPartition]) -> Flow[bool]:
        """Have a call held for each partition; return False if that was not possible for all."""
        failed, self._failed = self._failed, set()
        is_held, waited_at = True, self._waited_at()
        together: dict[str, list[TopicPartition]] = {}
        for where in partitions:
            if where in waited_at:
                continue
            try:
                address = yield from self._find(where)
            except QueueError:
                is_held = False
                continue
            if address in failed:
                is_held = False
            else:
                together.setdefault(address, []).append(where)
        for address, places in together.items():
            if address in self._open:
                places += self._give_up(address)
            try:
                pending = yield from self._begin(address, places)
            except QueueError:
                is_held = False
            else:
                self._open[address] = _Held(pending, set(places))
        return is_held

    def _collect(self, timeout_s: float) -> Flow[None]:
        """Close the calls that were answered; what they do not name has nothing."""
        if not self._open:
            return
        calls = [call.pending for call in self._open.values()]
        answered: list[Pending] = yield AwaitAny(calls, timeout_s)
        for address, (pending, places) in list(self._open.items()):
            if pending not in answered:
                continue
            try:
                answer = yield Await(pending, 0.0)
                if answer is None:
                    continue
                parts = read_body(answer)["partitions"]
            except QueueError:
                # The partitions are asked next, and asking deals with failures.
                self._failed.add(address)
            else:
                self._empty |= places - {(part["topic"], part["partition"]) for part in parts}
            del self._open[address]
