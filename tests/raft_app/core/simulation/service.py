"""What a simulated process does for clients: proposals, acknowledgements and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.errors import NodeNotLeader, NodeNotReady, ProposalDropped
from tests.raft_app.core.simulation.ledger import Speculation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.core.rawnode import RawNode
    from raft_app.core.types import Entry, ReadConfirmed
    from tests.raft_app.core.simulation.clients import Clients
    from tests.raft_app.core.simulation.ledger import Ledger
    from tests.raft_app.core.simulation.watch import Watch


class Service:
    """The state machine of one process and everybody who waits for it."""

    def __init__(
        self, replica_id: int, node: RawNode, ledger: Ledger, *, clients: Clients, watch: Watch
    ) -> None:
        self.ledger = ledger
        self._replica_id = replica_id
        self._node = node
        self._clients = clients
        self._watch = watch
        self._speculation: Speculation | None = None
        self._waiters: dict[int, list[tuple[int, bytes]]] = {}
        self._contexts = 0
        self._reads: dict[int, int] = {}
        self._confirmed: list[int] = []

    def propose(self, values: Iterable[bytes], record_count: int) -> list[tuple[int, int]]:
        """Propose the values that are new and wait for those that are on their way.

        Returns:
            (index, term) of the new ones; empty when there were none or they were refused.
        """
        node = self._node
        if not node.serves:
            return []
        if self._speculation is None or self._speculation.term != node.term:
            self._speculation = Speculation(node.term, self.ledger)
        speculation = self._speculation
        fresh: list[bytes] = []
        for value in values:
            if value in self.ledger.values:
                self._clients.acknowledged(value, self.ledger.values[value])
            elif value in speculation.values:
                index, term = speculation.values[value]
                self._waiters.setdefault(index, []).append((term, value))
            else:
                fresh.append(value)
        if not fresh:
            return []
        proposals = speculation.make(fresh, record_count)
        try:
            places = node.propose(proposals)
        except (NodeNotLeader, ProposalDropped):
            return []
        for proposal, (index, term) in zip(proposals, places, strict=True):
            speculation.proposed(proposal, index, term)
            self._waiters.setdefault(index, []).append((term, proposal.data))
        return places

    def apply(self, entry: Entry) -> None:
        """Apply a committed entry and answer those who wait for it.

        Who waits for another term's entry at that index hears nothing, and tries again.
        """
        self.ledger.apply(entry)
        for term, value in self._waiters.pop(entry.index, ()):
            if term == entry.term:
                self._clients.acknowledged(value, entry.index)

    def install(self, ledger: Ledger) -> None:
        """Take a snapshot's state over; who waits for an entry that it covers tries again."""
        self.ledger = ledger
        self._speculation = None
        covered = [index for index in self._waiters if index <= ledger.applied_index]
        for index in covered:
            del self._waiters[index]
        self.answer_reads()

    def read(self, floor: int) -> int:
        """Begin a read that must see all that is applied up to `floor`.

        Returns:
            Its context; 0 when it was refused.
        """
        self._contexts += 1
        self._reads[self._contexts] = floor
        try:
            self._node.read_index(self._contexts)
        except (NodeNotLeader, NodeNotReady):
            del self._reads[self._contexts]
            return 0
        return self._contexts

    @property
    def pending_reads(self) -> int:
        """Reads that are neither confirmed nor failed."""
        return len(self._reads)

    def confirm_read(self, confirmed: ReadConfirmed) -> None:
        """The node confirmed a read: it is answered once its index is applied."""
        floor = self._reads.pop(confirmed.context)
        self._watch.reads.answered(self._replica_id, confirmed.index, floor=floor)
        self._confirmed.append(confirmed.index)

    def fail_read(self, context: int) -> None:
        """The node gave a read up."""
        del self._reads[context]

    def answer_reads(self) -> None:
        """Answer the confirmed reads whose index is applied."""
        if not self._confirmed:
            return
        applied = self.ledger.applied_index
        waiting = [index for index in self._confirmed if index > applied]
        for _ in range(len(self._confirmed) - len(waiting)):
            self._clients.read_answered(applied)
        self._confirmed = waiting
