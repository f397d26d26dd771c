"""Racks of brokers, sizes of replicas, and whether replicas are moved for balance."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the columns."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("manager_app", "0007_audit")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            "broker", "rack", models.CharField(blank=True, default="", max_length=64)
        ),
        migrations.AddField("replica", "size_bytes", models.BigIntegerField(default=0)),
        migrations.AddField(
            "cluster",
            "rebalance",
            models.CharField(
                choices=[("on", "On"), ("paused", "Paused"), ("off", "Off")],
                default="on",
                max_length=6,
            ),
        ),
        migrations.AddField(
            "cluster", "rebalance_bytes_per_second", models.BigIntegerField(default=32 << 20)
        ),
    ]
