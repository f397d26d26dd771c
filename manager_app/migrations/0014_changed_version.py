"""Topics tell in which version of the metadata they, or the leaders of theirs, changed last."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the columns; a manager of the version before makes rows without them."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0013_events")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            "cluster",
            "topic_versions",
            models.BigIntegerField(default=0, db_default=0, editable=False),
        ),
        migrations.AddField(
            "topic",
            "changed_version",
            models.BigIntegerField(default=0, db_default=0, db_index=True, editable=False),
        ),
    ]
