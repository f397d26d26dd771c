"""Whether the disk of a broker is slower than those of others."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the column."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0003_groups")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField("broker", "disk_slow", models.BooleanField(default=False)),
    ]
