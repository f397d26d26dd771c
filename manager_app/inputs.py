"""Inputs of the calls that only a manager answers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from myqueue.contract.inputs import HealthType, Input, Int64, TopicName, bounded, stated

REBALANCE_BYTES_MIN = 1 << 10
"""A second; slower is as good as paused."""


class ListQuery(Input, frozen=True):
    """GET /topics, GET /brokers."""

    detail: bool = False
    """True: objects instead of names or addresses."""


class BrokerUpdate(Input, frozen=True):
    """PATCH /brokers/{id}."""

    draining: Annotated[bool, stated(enum=[False])]
    """False: keep the broker. True is said with DELETE, which also removes it in the end."""


class ClientsQuery(Input, frozen=True):
    """GET /producers, GET /consumers."""

    topic: TopicName | None = None


class HealthQuery(Input, frozen=True):
    """GET /health: a heartbeat of the consumer (0), producer (1) or broker (2) named `key`.

    Both, or neither for a look at how this manager is.
    """

    type: HealthType | None = None
    key: Int64 | str | None = None


class Rebalance(Input, frozen=True):
    """POST /rebalance."""

    bytes_per_second: Annotated[int, bounded(REBALANCE_BYTES_MIN)] | None = None
    """Of all moves together; None leaves it."""
    paused: bool = False


class Nothing(Input, frozen=True):
    """A call without input."""


class LossAccept(Input, frozen=True):
    """POST /topics/{topic}/partitions/{partition}/loss."""

    by: Annotated[str, Meta(min_length=1, max_length=255)]
    """Who accepts it; kept with what was lost."""
