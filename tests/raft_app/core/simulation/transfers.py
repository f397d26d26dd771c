"""Snapshots on their way: they take time, break with the link or a process, and are tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.plan import TICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.ledger import Ledger
    from tests.raft_app.core.simulation.simulation import Simulation


class Transfer:
    """One snapshot from one process to another, over a connection of its own.

    Attributes:
        sender: who leads, or believes so.
        receiver: who needs the snapshot.
        term: the sender's when it began.
        state: what the snapshot holds, never changed.
        is_over: it ended, one way or the other.
    """

    def __init__(self, simulation: Simulation, sender: Host, receiver: Host) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self.sender = sender
        self.receiver = receiver
        self.term = sender.node.term
        self.state: Ledger = sender.service.ledger.copy()
        self.is_over = False

    def __repr__(self) -> str:
        ids = f"{self.sender.replica_id}->{self.receiver.replica_id}"
        return f"{ids} term={self.term} {self.state.meta}"

    def start(self) -> None:
        """Offer the snapshot, when the connection stands."""
        self._next(self._offer)

    def fail(self) -> None:
        """The connection broke: both ends that live notice it, sooner or later."""
        if self.is_over:
            return
        self.is_over = True
        self.receiver.request(self.receiver.installer.lost, self)
        self.sender.request(self.sender.snapshot_sent, self, False)

    def _next(self, action: Callable[[], None]) -> None:
        """Do something at the receiver after a delay, unless the connection breaks before."""
        delay = 1 + int(self._simulation.network.delay * self._random.random())
        self.receiver.later(delay, self._act, action)

    def _act(self, action: Callable[[], None]) -> None:
        if self.is_over:
            return
        if self._stands():
            action()
        else:
            self.fail()

    def _stands(self) -> bool:
        network = self._simulation.network
        one, other = self.sender.replica_id, self.receiver.replica_id
        return network.is_open(one, other) and network.is_open(other, one)

    def _offer(self) -> None:
        if self.receiver.installer.offer(self):
            self.sender.request(self._send)
        else:
            self.is_over = True
            self.sender.request(self.sender.snapshot_sent, self, False)
        self.receiver.act()

    def _send(self) -> None:
        if self.is_over:
            return
        offset = self.receiver.installer.next_offset
        rows = tuple(self.state.rows_from(offset)[: self._random.randint(1, 8)])
        if rows:
            self._next(lambda: self._check(self.receiver.installer.take(self, rows, self._sent)))
        else:
            self._next(lambda: self._check(self.receiver.installer.finish(self, self._finished)))

    def _check(self, accepted: bool) -> None:
        if not accepted:
            self.fail()

    def _sent(self) -> None:
        self.sender.request(self._send)

    def _finished(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.sender.request(self.sender.snapshot_sent, self, True)


class Transfers:
    """All transfers of a run.

    Attributes:
        started: how many were begun.
        installed: how many snapshots were put in place.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._running: list[Transfer] = []
        self.started = 0
        self.installed = 0

    def start(self, sender: Host, peer: int) -> None:
        """Send a snapshot to a peer, unless one is on its way there from this process.

        Who leads no more by now sends none: in its term another one may lead.
        """
        self._running = [transfer for transfer in self._running if not transfer.is_over]
        receiver = self._simulation.hosts[peer]
        if not (sender.node.is_leader and sender.service.ledger.applied_index):
            sender.later(TICK, sender.node.report_snapshot, peer, False)
            return
        if any(each.sender is sender and each.receiver is receiver for each in self._running):
            return
        transfer = Transfer(self._simulation, sender, receiver)
        self._running.append(transfer)
        self.started += 1
        if receiver.alive:
            transfer.start()
        else:
            self._simulation.schedule(TICK, transfer.fail)

    def broken(self, host: Host) -> None:
        """A process died: its connections are gone."""
        for transfer in self._running:
            if host in {transfer.sender, transfer.receiver}:
                transfer.fail()

    def cut(self) -> None:
        """Every connection breaks."""
        for transfer in self._running:
            transfer.fail()
