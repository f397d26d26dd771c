"""The lease of the primary."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the sign of life of the primary."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0004_disk_slow")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            model_name="cluster",
            name="primary_renewals",
            field=models.BigIntegerField(default=0),
        ),
    ]
