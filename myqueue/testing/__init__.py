"""A queue in memory for unit tests: the same client classes, no server.

`InMemoryQueue` is public, the rest is how it is made. `transport` and `aio_transport` bring HTTP
calls to `api`, which answers them with the help of `manager`, `groups` and `work` out of `state`:
topics of `partition`s. Who gets a partition, which message is out and who is dead is decided by
`myqueue.contract.rules`, as in a server. Importing it registers the scheme `memory://`; nothing of
the library imports it.
"""

from __future__ import annotations

from myqueue.testing.queue import InMemoryQueue

__all__ = ["InMemoryQueue"]
