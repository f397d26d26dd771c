"""The limits of a partition's state machine and of the services around it."""

from __future__ import annotations

from dataclasses import dataclass

from myqueue.contract.rules.group_makers import (
    GROUPS_MAX,
    GROUPS_PER_ADDRESS_MAX,
    GROUPS_PER_CLIENT_MAX,
)
from myqueue.contract.rules.work import UNSETTLED_MAX

FORGET_AFTER_MS = 10 * 60 * 1000
"""Producers and request ids used within this time of the partition clock are never forgotten."""
PRODUCE_REQUESTS_REMEMBERED = 100
"""Request ids of one producer that a partition remembers."""


@dataclass(frozen=True, slots=True)
class StateLimits:
    """How much one partition remembers; beyond it new clients get OVERLOADED.

    They bind the leader, which decides; what is in the log is applied whatever they are.
    """

    producers_max: int = 10_000
    cursors_max: int = 10_000
    request_ids_max: int = 10_000
    """Of producers and consumers together."""
    groups_max: int = GROUPS_MAX
    """Consumer groups, those that workers use included."""
    groups_per_client_max: int = GROUPS_PER_CLIENT_MAX
    """Of them, those that one consumer made and that are still there."""
    unsettled_max: int = UNSETTLED_MAX
    """Messages of one group that are out or dead; beyond it only those come that come back."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """How much the services of a broker hold in memory."""

    long_polls_max: int = 5_000
    """Open long polls."""
    sequence_park_ms: int = 1_000
    """How long a batch waits for its predecessor."""
    parked_bytes_max: int = 64 << 20
    """Bytes of all batches that wait for their predecessor."""
    groups_per_address_max: int = GROUPS_PER_ADDRESS_MAX
    """Consumer groups of a partition led here that clients at one address make."""
    cursors_per_address_max: int = 5_000
    """Cursors of a partition led here that consumers at one address make: half of the table."""
    producers_per_address_max: int = 5_000
    """Producers that a partition led here remembers of one address: half of the table."""
    pops_waiting_max: int = 32
    """Pops of one consumer that queue behind the one in flight."""
    receives_waiting_max: int = 1_000
    """Receives of one group that queue behind the one in flight."""
    decoded_batches_max: int = 64
    """Batches kept decoded for consumers that pop few messages at a time."""
    decoded_bytes_max: int = 16 << 20
    """Bytes that the messages of those batches take."""
