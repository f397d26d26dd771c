"""What a system has to offer in order to be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from benchmarks.peers.session import Session

SHARED_FAMILIES = frozenset(
    {
        *("sync", "tasks", "produce_batch", "consume_fetch", "worker"),
        *("end_to_end", "end_to_end_group", "failover", "idle"),
    }
)
"""Families of workloads that know the protocols alone."""


class SystemFailed(RuntimeError):
    """Servers did not start; the message is their own output."""


class Address(NamedTuple):
    """Where a client's process finds a running system."""

    address: str
    """Of the server to begin with."""
    state_path: str
    """The file that says where the server processes are."""


class System(Protocol):
    """One that runs on this machine; this is its side in the process that steers."""

    @property
    def name(self) -> str:
        """What the command line and the tables call it."""
        ...

    @property
    def summary(self) -> str:
        """What it is and what an acknowledgement of it means, in one line."""
        ...

    @property
    def families(self) -> frozenset[str]:
        """The families of workloads that it can take part in."""
        ...

    def missing(self) -> str:
        """Say what is not installed and how to get it; empty when nothing is missing."""
        ...

    def running(self, directory: Path) -> AbstractContextManager[Address]:
        """Start it with its data in an empty directory, on free ports; stop it in the end.

        Raises:
            SystemFailed: it did not start.
        """
        ...

    def session(self, where: Address) -> Session:
        """Connect to it, in the client's process."""
        ...
