"""The fingerprint of the cluster's secret."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add what tells a wrong secret."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0005_lease")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            model_name="cluster",
            name="secret_fingerprint",
            field=models.CharField(blank=True, default="", editable=False, max_length=64),
        ),
    ]
