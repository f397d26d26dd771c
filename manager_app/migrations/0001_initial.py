"""The first tables of a manager."""

from __future__ import annotations

from typing import Any, ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the tables."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="DeletedGroup",
            fields=[
                ("group_id", models.IntegerField(primary_key=True, serialize=False)),
                ("topic_name", models.CharField(max_length=249)),
                ("index", models.PositiveIntegerField()),
                ("deleted_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["group_id"],
            },
        ),
        migrations.CreateModel(
            name="Broker",
            fields=[
                ("broker_id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "incarnation",
                    models.CharField(blank=True, max_length=32, null=True, unique=True),
                ),
                ("address", models.CharField(max_length=255)),
                ("raft_address", models.CharField(blank=True, default="", max_length=255)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("alive", "Alive"),
                            ("stopping", "Stopping"),
                            ("dead", "Dead"),
                            ("replaced", "Replaced"),
                        ],
                        db_index=True,
                        default="new",
                        max_length=8,
                    ),
                ),
                ("last_heartbeat", models.DateTimeField(blank=True, null=True)),
                ("disk_free_bytes", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["broker_id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("incarnation__isnull", True)),
                        fields=("address",),
                        name="broker_announced_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("address", ""), _negated=True),
                        name="broker_has_an_address",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("incarnation__isnull", True), ("state", "new")),
                            models.Q(
                                models.Q(("state", "new"), _negated=True),
                                ("incarnation__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="broker_is_new_until_it_reports",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Cluster",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("cluster_id", models.CharField(max_length=32)),
                ("epoch", models.PositiveIntegerField(default=1)),
                ("metadata_version", models.BigIntegerField(default=1)),
                ("primary_address", models.CharField(blank=True, default="", max_length=255)),
            ],
            options={
                "verbose_name_plural": "cluster",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="cluster_is_one_row"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("epoch__gte", 1)), name="cluster_epoch_positive"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Topic",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=249, unique=True)),
                ("partitions_at_creation", models.PositiveIntegerField()),
                ("replication_factor", models.PositiveSmallIntegerField()),
                ("retention_ms", models.BigIntegerField(blank=True, null=True)),
                ("retention_bytes", models.BigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True), name="topic_has_a_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("partitions_at_creation__gte", 1),
                            ("partitions_at_creation__lte", 1024),
                        ),
                        name="topic_partitions_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("replication_factor__gte", 1)),
                        name="topic_is_replicated",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("retention_ms__isnull", True), ("retention_ms__gt", 0), _connector="OR"
                        ),
                        name="topic_retention_ms_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("retention_bytes__isnull", True),
                            ("retention_bytes__gt", 0),
                            _connector="OR",
                        ),
                        name="topic_retention_bytes_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Partition",
            fields=[
                ("group_id", models.AutoField(primary_key=True, serialize=False)),
                ("index", models.PositiveIntegerField()),
                ("term", models.BigIntegerField(default=0)),
                ("placement_version", models.PositiveIntegerField(default=1)),
                (
                    "leader",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="led_partitions",
                        to="manager_app.broker",
                    ),
                ),
                (
                    "topic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="partitions",
                        to="manager_app.topic",
                    ),
                ),
            ],
            options={
                "ordering": ["topic_id", "index"],
            },
        ),
        migrations.CreateModel(
            name="Consumer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("alive", "Alive"),
                            ("expired", "Expired"),
                            ("revoked", "Revoked"),
                        ],
                        db_index=True,
                        default="alive",
                        max_length=8,
                    ),
                ),
                ("last_heartbeat", models.DateTimeField()),
                ("registered_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("start", models.CharField(default="earliest", max_length=8)),
                (
                    "topic",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="manager_app.topic",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "abstract": False,
                "default_related_name": "consumers",
            },
        ),
        migrations.CreateModel(
            name="Replica",
            fields=[
                ("replica_id", models.AutoField(primary_key=True, serialize=False)),
                ("position", models.PositiveSmallIntegerField()),
                ("bootstrap", models.BooleanField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("ordered", "Ordered"),
                            ("running", "Running"),
                            ("faulty", "Faulty"),
                            ("missing", "Missing"),
                        ],
                        db_index=True,
                        default="ordered",
                        max_length=8,
                    ),
                ),
                ("role", models.CharField(blank=True, default="", max_length=16)),
                ("log_start_offset", models.BigIntegerField(default=0)),
                ("high_watermark", models.BigIntegerField(default=0)),
                ("last_index", models.BigIntegerField(default=0)),
                ("fault", models.CharField(blank=True, default="", max_length=255)),
                ("reported_at", models.DateTimeField(blank=True, null=True)),
                (
                    "broker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replicas",
                        to="manager_app.broker",
                    ),
                ),
                (
                    "partition",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="replicas",
                        to="manager_app.partition",
                    ),
                ),
            ],
            options={
                "ordering": ["partition_id", "position"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("partition", "broker"), name="replica_once_per_broker"
                    ),
                    models.UniqueConstraint(
                        fields=("partition", "position"), name="replica_once_per_position"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Producer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("alive", "Alive"),
                            ("expired", "Expired"),
                            ("revoked", "Revoked"),
                        ],
                        db_index=True,
                        default="alive",
                        max_length=8,
                    ),
                ),
                ("last_heartbeat", models.DateTimeField()),
                ("registered_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "topic",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="manager_app.topic",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "abstract": False,
                "default_related_name": "producers",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state", "revoked"), ("topic__isnull", False), _connector="OR"
                        ),
                        name="producer_has_a_topic",
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="partition",
            constraint=models.UniqueConstraint(
                fields=("topic", "index"), name="partition_once_per_topic"
            ),
        ),
        migrations.AddConstraint(
            model_name="partition",
            constraint=models.CheckConstraint(
                condition=models.Q(("group_id__gte", 1), ("group_id__lte", 8388607)),
                name="partition_group_id_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="partition",
            constraint=models.CheckConstraint(
                condition=models.Q(("index__lte", 1023)), name="partition_index_in_range"
            ),
        ),
        migrations.AddConstraint(
            model_name="partition",
            constraint=models.CheckConstraint(
                condition=models.Q(("term__gte", 0)), name="partition_term_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="consumer",
            constraint=models.CheckConstraint(
                condition=models.Q(("state", "revoked"), ("topic__isnull", False), _connector="OR"),
                name="consumer_has_a_topic",
            ),
        ),
        migrations.AddConstraint(
            model_name="consumer",
            constraint=models.CheckConstraint(
                condition=models.Q(("start__in", ["earliest", "latest"])),
                name="consumer_start_known",
            ),
        ),
    ]
