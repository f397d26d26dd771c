"""The cluster's one row: its id, the lease of its primary, the version of the metadata.

Every write of metadata is fenced: in its own transaction it holds the row's epoch against a
take-over (`fenced`, `metadata_bump`), and is refused when the epoch is another than its primary's.
So what a primary began is stored before its successor begins, or never. Renewals of the lease and
writes under it do not wait for each other.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.db.models import F

from http_base.tokens import secret_fingerprint
from manager_app.fence import expected_epoch, note_fence
from manager_app.models import Cluster, Event, EventKind, Topic
from manager_app.row_updates import portions
from manager_app.services.events import about, event_store
from manager_app.written_queries import WrittenUpdate
from myqueue.contract.errors import ReadOnlyManager

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manager_app.models import RebalanceState


@contextmanager
def fenced(epoch: int | None = None) -> Iterator[None]:
    """Write metadata in a transaction that no take-over of the lease comes before.

    Args:
        epoch: of the lease that the write was decided under; that of this process unless given.

    Raises:
        ReadOnlyManager: another manager has become the primary; nothing is stored.
    """
    with transaction.atomic():
        expected = expected_epoch() if epoch is None else epoch
        if expected is not None:
            _hold_epoch(expected)
        yield


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


def metadata_bump(*, of_topics: bool = False) -> None:
    """Raise the version of the metadata; must be the first write of its transaction.

    The lock on the row puts all changes of metadata into one order, and fences them.

    Args:
        of_topics: the change is new topics, new partitions or new leaders alone, and `topics_mark`
            names all of their topics.

    Raises:
        ReadOnlyManager: another manager has become the primary.
    """
    rows = Cluster.objects.filter(pk=1)
    epoch = expected_epoch()
    own = rows if epoch is None else rows.filter(epoch=epoch)
    raised = {"metadata_version": F("metadata_version") + 1}
    if of_topics:
        raised["topic_versions"] = F("topic_versions") + 1
    if not own.update(**raised):
        if epoch is not None:
            raise _superseded()
        cluster_ensure()
        metadata_bump(of_topics=of_topics)
    note_fence()


def topics_mark(topic_ids: Iterable[int]) -> None:
    """Note which topics `metadata_bump` raised the version for, in the same transaction."""
    version = Cluster.objects.filter(pk=1).values("metadata_version")[:1]
    for some in portions(sorted(set(topic_ids))):
        Topic.objects.filter(pk__in=some).update(changed_version=version)


_RENEW = WrittenUpdate(
    Cluster,  # each second, by a process that may do nothing else
    lambda by, epoch, pk, address: (
        Cluster.objects.filter(epoch=epoch, pk=pk, primary_address=address),
        {"primary_renewals": F("primary_renewals") + by},
    ),
)


def lease_renew(address: str, *, epoch: int) -> bool:
    """Renew the lease; return False when another manager has become the primary."""
    return _RENEW.count(1, epoch, 1, address) > 0


def lease_take(address: str, *, seen: Cluster) -> int | None:
    """Make the manager at an address the primary, unless the lease was renewed since `seen`.

    It waits for the writes that the one before has begun.

    Returns:
        The epoch of its lease; None when the primary renewed it or another took it.
    """
    with transaction.atomic():
        unchanged = Cluster.objects.select_for_update().filter(
            pk=1,
            primary_address=seen.primary_address,
            epoch=seen.epoch,
            primary_renewals=seen.primary_renewals,
        )
        if not unchanged.exists():
            return None
        Cluster.objects.filter(pk=1).update(
            primary_address=address,
            epoch=F("epoch") + 1,
            metadata_version=F("metadata_version") + 1,
        )
        before = seen.primary_address
        after = f" after {before}" if before and before != address else ""
        event_store(
            _lease_event("lease taken", f"{address} is the primary manager{after}", address)
        )
        return seen.epoch + 1


def lease_give_back(address: str, *, epoch: int) -> bool:
    """Let another manager take the lease at once; return False when one has."""
    rows = Cluster.objects.filter(pk=1, primary_address=address, epoch=epoch)
    with transaction.atomic():
        if not rows.update(primary_address="", metadata_version=F("metadata_version") + 1):
            return False
        event_store(_lease_event("lease given back", f"{address} stops as the primary", address))
    return True


def _lease_event(action: str, text: str, address: str) -> Event:
    return Event(kind=EventKind.LEASE, action=action, text=text, about=about(manager=address))


def acting_epoch() -> int:
    """Return the epoch that this process writes, and orders brokers, under.

    Raises:
        ReadOnlyManager: this process has none: another manager is the primary.
    """
    expected = expected_epoch()
    return cluster_ensure().epoch if expected is None else expected


def _hold_epoch(epoch: int) -> None:
    """Keep the epoch as it is until the transaction ends.

    A lock `FOR KEY SHARE` stands in the way of a take-over alone, which locks the row `FOR UPDATE`.
    SQLite has one writer at a time.
    """
    table = connection.ops.quote_name(Cluster._meta.db_table)
    lock = " FOR KEY SHARE" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT epoch FROM {table} WHERE id = 1{lock}")  # noqa: S608 - our own table
        row = cursor.fetchone()
    if row is None or row[0] != epoch:
        raise _superseded()
    note_fence()


def _superseded() -> ReadOnlyManager:
    """Return the error that names the present primary."""
    primary = Cluster.objects.filter(pk=1).values_list("primary_address", flat=True).first()
    return ReadOnlyManager(
        f"another manager has become the primary: send this to {primary or 'the primary'}",
        primary=primary or None,
    )
