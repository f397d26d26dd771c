"""The cluster's one row: its id, the lease of its primary, the version of the metadata."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F

from http_base.tokens import secret_fingerprint
from manager_app.models import Cluster

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from manager_app.models import RebalanceState


def cluster_ensure() -> Cluster:
    """Return the cluster's row; the first manager of a database creates it."""
    return Cluster.objects.get_or_create(pk=1, defaults={"cluster_id": secrets.token_hex(16)})[0]


def secret_record(secret: str, *, change: bool = False) -> None:
    """Store the fingerprint of the cluster's secret, if none is stored yet.

    Args:
        secret: of this manager.
        change: replace a stored one.
    """
    cluster_id = cluster_ensure().cluster_id
    rows = Cluster.objects.filter(pk=1)
    unknown = rows if change else rows.filter(secret_fingerprint="")
    unknown.update(secret_fingerprint=secret_fingerprint(secret, cluster_id))


def rebalance_set(state: RebalanceState, *, bytes_per_second: int | None = None) -> None:
    """Store whether replicas are moved for balance, and how fast.

    Args:
        state: from now on.
        bytes_per_second: of all moves together; None leaves it.
    """
    speed = {} if bytes_per_second is None else {"rebalance_bytes_per_second": bytes_per_second}
    with transaction.atomic():
        metadata_bump()
        Cluster.objects.filter(pk=1).update(rebalance=state, **speed)


def metadata_bump() -> None:
    """Raise the version of the metadata; must be the first write of its transaction.

    The lock on the row puts all changes of metadata into one order.
    """
    changed = Cluster.objects.filter(pk=1).update(metadata_version=F("metadata_version") + 1)
    if not changed:
        cluster_ensure()
        metadata_bump()


def primary_announce(address: str) -> int:
    """Make the manager at an address the primary in any case; return the epoch of its lease."""
    cluster_ensure()
    rows = Cluster.objects.filter(pk=1)
    with transaction.atomic():
        _hand_lease(rows, address)
        return rows.values_list("epoch", flat=True).get()


def lease_renew(address: str, *, epoch: int) -> bool:
    """Renew the lease; return False when another manager has become the primary."""
    rows = Cluster.objects.filter(pk=1, primary_address=address, epoch=epoch)
    return rows.update(primary_renewals=F("primary_renewals") + 1) > 0


def lease_take(address: str, *, seen: Cluster) -> int | None:
    """Make the manager at an address the primary, unless the lease was renewed since `seen`.

    Returns:
        The epoch of its lease; None when the primary renewed it or another took it.
    """
    unchanged = Cluster.objects.filter(
        pk=1,
        primary_address=seen.primary_address,
        epoch=seen.epoch,
        primary_renewals=seen.primary_renewals,
    )
    return seen.epoch + 1 if _hand_lease(unchanged, address) else None


def _hand_lease(rows: QuerySet[Cluster], address: str) -> int:
    return rows.update(
        primary_address=address,
        epoch=F("epoch") + 1,
        metadata_version=F("metadata_version") + 1,
    )
