"""The term of the last entry that a replica reported to have kept."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the column."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0011_report_number")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField("replica", "kept_entry_term", models.BigIntegerField(default=0)),
    ]
