"""What a database that was restored from a backup must not give out a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.db import connection, transaction
from django.db.models import AutoField, BigAutoField, F, Max

from manager_app import selectors
from manager_app.models import GROUP_ID_MAX, Cluster, ConsumerGroup, Partition
from manager_app.services.cluster import cluster_ensure
from myqueue.contract.errors import Overloaded

if TYPE_CHECKING:
    from django.db.models import Model

IDS = 1_000_000
"""Ids of each kind that are skipped: more than were given out since any backup."""
GROUP_IDS = 100_000
"""Ids of partitions, of which there are 8 million."""
VERSIONS = 1_000_000
"""Versions of the metadata and of placements, and generations and revisions of consumer groups."""
EPOCHS = 100_000
"""Epochs of the primary's lease; a take-over needs one."""


def sequences_raise() -> dict[str, int]:
    """Skip all ids, versions, generations and epochs that may have been given out since a backup.

    Brokers, and clients with their tokens, remember them. A manager that is at work holds its lease
    no longer, and the next to look takes it.

    Returns:
        The next id of each table that gives out ids, by the table's name.

    Raises:
        Overloaded: there are not that many ids of partitions left; nothing is changed.
    """
    cluster_ensure()
    with transaction.atomic():
        Cluster.objects.select_for_update().get()
        Cluster.objects.update(
            metadata_version=F("metadata_version") + VERSIONS,
            epoch=F("epoch") + EPOCHS,
            primary_address="",
        )
        Partition.objects.update(placement_version=F("placement_version") + VERSIONS)
        ConsumerGroup.objects.update(
            generation=F("generation") + VERSIONS, revision=F("revision") + VERSIONS
        )
        return {
            model._meta.db_table: _raise_ids(model)
            for model in apps.get_app_config("manager_app").get_models()
            if isinstance(model._meta.pk, AutoField | BigAutoField)
        }


def generation_floor(epoch: int) -> int:
    """Return the generation above which a group begins that the database does not know.

    One of its name may have been made after the backup that the database was restored from; its
    members may still be there, and no partition knows of them before they commit.

    Args:
        epoch: of the primary's lease, which tells how often the database was restored.
    """
    return epoch // EPOCHS * VERSIONS


def _raise_ids(model: type[Model]) -> int:
    """Return the next id of a model."""
    table, step = model._meta.db_table, GROUP_IDS if model is Partition else IDS
    highest = model._default_manager.aggregate(highest=Max("pk"))["highest"] or 0
    following = max(highest, selectors.last_id(model)) + step + 1
    if model is Partition and following > GROUP_ID_MAX:
        raise Overloaded(f"there are no {GROUP_IDS} ids of partitions left")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                [table, model._meta.pk.column, following - 1],
            )
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, following - 1]
            )
    return following
