"""The audit log."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the table of audit entries."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0006_secret_fingerprint")]

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=64)),
                ("subject", models.CharField(max_length=249)),
                ("origin", models.CharField(blank=True, max_length=64)),
                ("details", models.JSONField(blank=True, default=dict)),
            ],
            options={"verbose_name_plural": "audit entries", "ordering": ["-id"]},
        ),
    ]
