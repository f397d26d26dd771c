"""Another manager that takes the lease over, whoever has it."""

from __future__ import annotations

from manager_app.services.cluster import cluster_ensure, lease_take


def take_over(address: str) -> int:
    """Make the manager at an address the primary; return the epoch of its lease."""
    epoch = lease_take(address, seen=cluster_ensure())
    assert epoch is not None
    return epoch
