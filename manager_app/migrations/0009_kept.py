"""What replicas once reported to have kept, and what people accepted as lost."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add what tells a replica restored from an older copy, and how one was gone on with."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0008_rebalance")]

    operations: ClassVar[list[Any]] = [
        *(
            migrations.AddField(
                model_name="replica", name=name, field=models.BigIntegerField(default=0)
            )
            for name in ("kept_term", "kept_index", "kept_offset")
        ),
        migrations.CreateModel(
            name="LossAccepted",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("group_id", models.IntegerField(db_index=True)),
                ("topic_name", models.CharField(max_length=249)),
                ("index", models.PositiveIntegerField()),
                ("accepted_at", models.DateTimeField(auto_now_add=True)),
                ("accepted_by", models.CharField(max_length=255)),
                ("broker_id", models.IntegerField()),
                ("old_replica_id", models.BigIntegerField()),
                ("new_replica_id", models.BigIntegerField()),
                ("above_term", models.BigIntegerField()),
                ("end_offset", models.BigIntegerField()),
                ("known_offset", models.BigIntegerField()),
                ("next_offset", models.BigIntegerField()),
                ("version", models.PositiveIntegerField()),
                ("done", models.BooleanField(default=False)),
            ],
            options={"ordering": ["id"], "verbose_name_plural": "losses accepted"},
        ),
    ]
