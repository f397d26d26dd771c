"""A queue in memory for unit tests of programs: the same client classes, no server.

`InMemoryQueue` in `queue` is public, the rest is its implementation. `transport` and
`aio_transport` bring HTTP calls to `api`, which answers them with the help of `manager`, `groups`
and `work` out of `state`: topics of `partition`s. Rebalances, redeliveries and repetitions are
decided by `myqueue.contract.rules`, as in a server. Importing it registers the scheme `memory://`;
nothing of the library imports it.
"""

from __future__ import annotations

from myqueue.testing.queue import InMemoryQueue

__all__ = ["InMemoryQueue"]
