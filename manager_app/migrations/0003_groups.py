"""The consumer groups that a manager coordinates."""

from __future__ import annotations

from typing import Any, ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the tables."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0002_healing")]

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="ConsumerGroup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=249, unique=True)),
                ("generation", models.BigIntegerField(default=0)),
                ("revision", models.BigIntegerField(default=0)),
                ("topics", models.JSONField(blank=True, default=dict)),
                ("topics_used", models.JSONField(blank=True, default=list)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True), name="group_has_a_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("generation__gte", 0)),
                        name="group_generation_not_negative",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GroupMember",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("member_id", models.CharField(max_length=32)),
                ("topics", models.JSONField(default=list)),
                ("session_timeout_ms", models.PositiveIntegerField()),
                ("granted", models.JSONField(blank=True, default=dict)),
                ("target", models.JSONField(blank=True, default=dict)),
                ("revoked_generation", models.BigIntegerField(default=0)),
                ("last_heartbeat", models.DateTimeField()),
                ("joined_at", models.DateTimeField(auto_now_add=True)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="members",
                        to="manager_app.consumergroup",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("group", "member_id"), name="group_member_once_per_group"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("session_timeout_ms__gt", 0)),
                        name="group_member_session_ends",
                    ),
                ],
            },
        ),
    ]
