"""A queue in memory for unit tests: the same client classes, no server.

`InMemoryQueue` is public, the rest is how it is made: `api` answers HTTP calls out of dictionaries,
`transport` and `aio_transport` bring them there. Importing it registers the scheme `memory://`;
nothing of the library imports it.
"""

from __future__ import annotations

from myqueue.testing.queue import InMemoryQueue

__all__ = ["InMemoryQueue"]
