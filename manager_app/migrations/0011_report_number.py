"""The number of a broker's last report, which the next one may follow with changes alone."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the column."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0010_access")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            "broker", "report_number", models.BigIntegerField(default=0, editable=False)
        ),
    ]
