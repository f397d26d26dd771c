"""Simulated clients: they store unique values, try again when they hear nothing, and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.plan import TICK

if TYPE_CHECKING:
    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.simulation import Simulation

OUTSTANDING_MAX = 40
"""Values that wait for an acknowledgement; beyond it clients only try again."""


NAP_CYCLE_TIMEOUTS = 8
"""Election timeouts from one time without clients to the next."""
NAP_BEGIN_TIMEOUTS = 2
"""Election timeouts of it with clients."""


class Clients:
    """All clients of a run.

    Attributes:
        writing: whether they come up with new values.
        resting: whether they do nothing at all.
        outstanding: values not acknowledged yet, with the message count of their entries.
        reads_answered: how many reads were answered.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._count = 0
        self.writing = True
        self.resting = False
        self.outstanding: dict[bytes, int] = {}
        self.reads_answered = 0

    def start(self) -> None:
        """Begin; goes on by itself."""
        self._simulation.schedule(1, self._act)

    def acknowledged(self, value: bytes, index: int) -> None:
        """A host answered that `value` is stored at `index`."""
        self._simulation.watch.messages.acknowledged(value, index)
        self._simulation.watch.reads.seen(index)
        self.outstanding.pop(value, None)

    def read_answered(self, applied_index: int) -> None:
        """A host answered a read from the state after `applied_index`."""
        self._simulation.watch.reads.seen(applied_index)
        self.reads_answered += 1

    def _act(self) -> None:
        interval = self._simulation.plan.client_interval
        self._simulation.schedule(1 + int(self._random.expovariate(1 / interval)), self._act)
        host = self._choose_host()
        if host is None or self.resting or self._is_nap():
            return
        choice = self._random.random()
        if choice < 0.3:
            host.request(host.read, self._simulation.watch.reads.seen_index)
        elif self.writing and choice < 0.85 and len(self.outstanding) < OUTSTANDING_MAX:
            self._write(host)
        else:
            self._try_again(host)

    def _is_nap(self) -> bool:
        """Tell whether it is one of the times without clients, before everything is healed."""
        simulation = self._simulation
        if not simulation.plan.naps or not simulation.faulty:
            return False
        timeout = simulation.plan.config.election_timeout_ticks * TICK
        return simulation.now % (NAP_CYCLE_TIMEOUTS * timeout) > NAP_BEGIN_TIMEOUTS * timeout

    def _choose_host(self) -> Host | None:
        """Mostly somebody who believes to lead, sometimes anybody."""
        alive = [host for host in self._simulation.hosts.values() if host.alive]
        leaders = [host for host in alive if host.node.is_leader]
        if leaders and self._random.random() < 0.9:
            return self._random.choice(leaders)
        return self._random.choice(alive) if alive else None

    def _write(self, host: Host) -> None:
        plan = self._simulation.plan
        record_count = self._random.randint(1, 3)
        values = []
        for _ in range(self._random.randint(1, plan.burst)):
            self._count += 1
            value = b"%d" % self._count
            values.append(value.ljust(self._random.randint(1, plan.value_bytes), b"."))
        for value in values:
            self.outstanding[value] = record_count
            self._simulation.watch.messages.proposed(value)
        host.request(host.propose, values, record_count)

    def _try_again(self, host: Host) -> None:
        for value, record_count in list(self.outstanding.items()):
            if self._random.random() < 0.5:
                host.request(host.propose, [value], record_count)
