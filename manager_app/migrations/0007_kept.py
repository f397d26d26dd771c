"""What replicas once reported to have kept."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add what tells a replica that was restored from an older copy."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0006_secret_fingerprint")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            model_name="replica", name=name, field=models.BigIntegerField(default=0)
        )
        for name in ("kept_term", "kept_index", "kept_offset")
    ]
