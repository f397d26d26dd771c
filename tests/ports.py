"""Ports for servers of tests, which no other test, worker or outgoing connection gets."""

from __future__ import annotations

import itertools
import os
import random
from collections import deque

from queuesite.ports import can_be_picked, ports_of

PORTS = range(10_000, 18_000)
"""Below those of outgoing connections, so that a server which is down finds its port free again."""
PORTS_TOGETHER = 10
"""Of a cluster and of Raft, at most."""
PORTS_GIVEN_MAX = 300
"""That are not given again; fewer than a worker has."""
_given: deque[int] = deque(maxlen=PORTS_GIVEN_MAX)
"""The last ports that this process gave away."""


def is_ours(port: int) -> bool:
    """Tell whether no other worker of these tests takes this port, nor the one 1,000 above it."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return port % 1_000 // PORTS_TOGETHER % workers == worker


def free_ports(count: int) -> list[int]:
    """Return ports where nobody listens now, that nobody was given lately, that browsers open.

    Who was given a port listens there later: until then it looks free.
    """
    given = set(_given)
    ours = [port for port in PORTS if is_ours(port) and port not in given]
    random.SystemRandom().shuffle(ours)
    found = list(itertools.islice(filter(can_be_picked, ours), count))
    _given.extend(found)
    return found


def free_base(brokers: int) -> int:
    """Return a manager's port, after which those of so many brokers and of Raft are free, too."""
    given = set(_given)
    ours = [port for port in PORTS if port % PORTS_TOGETHER == 0 and is_ours(port)]
    bases = [base for base in ours if given.isdisjoint(ports_of(base, brokers))]
    random.SystemRandom().shuffle(bases)
    base = next(base for base in bases if all(map(can_be_picked, ports_of(base, brokers))))
    _given.extend(ports_of(base, brokers))
    return base
