"""The row about the cluster: its id, its lease epoch, and the version of the metadata."""

from __future__ import annotations

import secrets

from django.db.models import F

from manager_app.models import Cluster


def cluster_ensure() -> Cluster:
    """Return the row about the cluster; the first manager of a database makes it."""
    return Cluster.objects.get_or_create(pk=1, defaults={"cluster_id": secrets.token_hex(16)})[0]


def metadata_bump() -> None:
    """Raise the version of the metadata; must be the first write of its transaction.

    The lock on the row makes all changes of metadata wait for each other, in one order.
    """
    changed = Cluster.objects.filter(pk=1).update(metadata_version=F("metadata_version") + 1)
    if not changed:
        cluster_ensure()
        metadata_bump()


def primary_announce(address: str) -> None:
    """Store where the manager that takes writes is reached."""
    cluster_ensure()
    Cluster.objects.filter(pk=1).exclude(primary_address=address).update(
        primary_address=address, metadata_version=F("metadata_version") + 1
    )
