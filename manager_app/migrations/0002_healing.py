"""What a manager has to know to keep partitions at their replication factor."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the columns."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0001_initial")]

    operations: ClassVar[list[Any]] = [
        migrations.RemoveConstraint(model_name="replica", name="replica_once_per_position"),
        migrations.AddField("broker", "draining", models.BooleanField(default=False)),
        migrations.AddField("partition", "membership_term", models.BigIntegerField(default=0)),
        migrations.AddField("partition", "strangers", models.PositiveSmallIntegerField(default=0)),
        migrations.AddField(
            "replica", "leaving", models.BooleanField(db_index=True, default=False)
        ),
        migrations.AddField(
            "replica",
            "membership",
            models.CharField(
                choices=[("none", "None"), ("learner", "Learner"), ("voter", "Voter")],
                db_index=True,
                default="none",
                max_length=8,
            ),
        ),
        migrations.AddField(
            "replica", "suspicion", models.CharField(blank=True, default="", max_length=255)
        ),
        migrations.AddConstraint(
            "replica",
            models.UniqueConstraint(
                condition=models.Q(("leaving", False)),
                fields=("partition", "position"),
                name="replica_once_per_position",
            ),
        ),
    ]
