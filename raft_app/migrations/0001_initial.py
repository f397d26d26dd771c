"""The tables of a broker, format version 1."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models import F, Q


class Migration(migrations.Migration):
    """Creates everything."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="RaftGroup",
            fields=[
                ("group_id", models.IntegerField(primary_key=True, serialize=False)),
                ("replica_id", models.BigIntegerField()),
                ("topic", models.CharField(max_length=249)),
                ("partition", models.IntegerField()),
                ("term", models.BigIntegerField()),
                ("vote", models.BigIntegerField()),
                ("commit", models.BigIntegerField()),
                ("first_index", models.BigIntegerField()),
                ("previous_term", models.BigIntegerField()),
                ("installing", models.BooleanField(default=False)),
                ("log_start_offset", models.BigIntegerField(default=0)),
                ("faulty", models.TextField(blank=True, default="")),
                ("hard_state_crc", models.BigIntegerField()),
                ("facts_crc", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "Raft group",
                "constraints": [
                    models.CheckConstraint(
                        name="raft_group_ids_in_range",
                        condition=Q(group_id__gt=0, group_id__lt=1 << 23, replica_id__gt=0),
                    ),
                    models.CheckConstraint(
                        name="raft_group_state_not_negative",
                        condition=Q(term__gte=0, vote__gte=0, commit__gte=0, first_index__gte=1),
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RaftEntry",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("group_id", models.IntegerField()),
                ("term", models.BigIntegerField()),
                (
                    "kind",
                    models.SmallIntegerField(
                        choices=[(0, "Noop"), (1, "Data"), (2, "Command"), (3, "Membership")]
                    ),
                ),
                ("base_offset", models.BigIntegerField()),
                ("record_count", models.IntegerField()),
                ("append_timestamp", models.BigIntegerField()),
                ("crc", models.BigIntegerField()),
                ("data", models.BinaryField()),
            ],
            options={
                "verbose_name": "Raft entry",
                "verbose_name_plural": "Raft entries",
                "constraints": [
                    models.UniqueConstraint(
                        name="raft_entry_base_offset",
                        fields=["group_id", "base_offset"],
                        condition=Q(kind=1),
                    ),
                    models.CheckConstraint(
                        name="raft_entry_id_is_group_and_index",
                        condition=Q(
                            id__gt=F("group_id") * (1 << 40),
                            id__lt=(F("group_id") + 1) * (1 << 40),
                        ),
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("group_id", models.IntegerField(primary_key=True, serialize=False)),
                ("applied_index", models.BigIntegerField()),
                ("applied_term", models.BigIntegerField()),
                ("membership", models.BinaryField()),
                ("membership_index", models.BigIntegerField()),
                ("state", models.BinaryField()),
                ("crc", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="BrokerIdentity",
            fields=[
                ("id", models.IntegerField(default=1, primary_key=True, serialize=False)),
                ("incarnation", models.CharField(max_length=32)),
                ("broker_id", models.BigIntegerField(default=0)),
                ("cluster_id", models.CharField(blank=True, default="", max_length=64)),
                ("format_version", models.IntegerField()),
                ("epoch", models.BigIntegerField(default=0)),
            ],
            options={
                "verbose_name_plural": "broker identity",
                "constraints": [
                    models.CheckConstraint(name="raft_broker_identity_one_row", condition=Q(id=1))
                ],
            },
        ),
        migrations.CreateModel(
            name="PeerAddress",
            fields=[
                ("broker_id", models.IntegerField(primary_key=True, serialize=False)),
                ("http_address", models.CharField(max_length=300)),
                ("raft_address", models.CharField(max_length=300)),
            ],
            options={"verbose_name_plural": "peer addresses"},
        ),
        migrations.CreateModel(
            name="UsedReplicaId",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("group_id", models.IntegerField()),
                ("replica_id", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "used replica id",
                "constraints": [
                    models.UniqueConstraint(
                        name="raft_used_replica_id_once", fields=["group_id", "replica_id"]
                    )
                ],
            },
        ),
    ]
