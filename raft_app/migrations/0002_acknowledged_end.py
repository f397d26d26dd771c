"""Where a log ended before a snapshot began to replace it: format version 2."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    """Adds two columns, which the checksums of rows cover only where they say something."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("raft_app", "0001_initial")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="raftgroup",
            name=name,
            field=models.BigIntegerField(blank=True, null=True),
        )
        for name in ("acknowledged_index", "acknowledged_term")
    ]
