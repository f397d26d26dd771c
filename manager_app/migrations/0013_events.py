"""The audit log becomes the stream of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import migrations, models

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_KINDS = (
    *("election", "broker", "move", "lease"),
    *("configuration", "action", "access", "login"),
)
_OUTCOMES = ("done", "refused", "failed", "unknown")


def take_over(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Say of audit entries in the new columns what they said in the old ones."""
    events = apps.get_model("manager_app", "Event")._default_manager
    event: Any
    for event in events.iterator():
        is_loss = event.action == "accept loss"
        name = event.subject.rpartition("/")[0] if is_loss else event.subject
        event.about = f"\n{'topic' if is_loss else 'group'}:{name}\n"
        event.person = str(event.details.get("by", ""))[:255].removeprefix("the ")
        event.outcome = "done" if is_loss or "partitions" in event.details else "unknown"
        event.save(update_fields=["about", "person", "outcome"])


def rename_permissions(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Let whoever saw audit entries see events."""
    permissions = apps.get_model("auth", "Permission")._default_manager
    content_types = apps.get_model("contenttypes", "ContentType")._default_manager
    old = permissions.filter(
        content_type__app_label="manager_app", codename__endswith="_auditentry"
    )
    if not old.exists():
        return
    event, _created = content_types.get_or_create(app_label="manager_app", model="event")
    holders = (("Group", "permissions"), ("User", "user_permissions"))
    for permission in old:
        action = permission.codename.removesuffix("_auditentry")
        renamed, _created = permissions.get_or_create(
            codename=f"{action}_event",
            content_type=event,
            defaults={"name": f"Can {action} event"},
        )
        for model, field in holders:
            for holder in apps.get_model("auth", model)._default_manager.filter(
                **{field: permission}
            ):
                getattr(holder, field).add(renamed)
        permission.delete()


class Migration(migrations.Migration):
    """Rename the table, and add what events have beside audit entries."""

    dependencies: ClassVar[list[Any]] = [
        ("manager_app", "0012_kept_entry_term"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations: ClassVar[list[Any]] = [
        migrations.RenameModel("AuditEntry", "Event"),
        migrations.AlterModelOptions(name="event", options={"ordering": ["-id"]}),
        migrations.AddField(
            "event",
            "kind",
            models.CharField(
                choices=[(kind, kind.capitalize()) for kind in _KINDS],
                default="action",
                max_length=16,
            ),
        ),
        migrations.AddField(
            "event", "text", models.CharField(blank=True, default="", max_length=1_000)
        ),
        migrations.AddField("event", "about", models.TextField(blank=True, default="")),
        migrations.AddField(
            "event", "person", models.CharField(blank=True, default="", max_length=255)
        ),
        migrations.AddField(
            "event",
            "outcome",
            models.CharField(
                blank=True,
                choices=[(outcome, outcome.capitalize()) for outcome in _OUTCOMES],
                default="",
                max_length=8,
            ),
        ),
        migrations.AlterField("event", "at", models.DateTimeField(db_index=True)),
        migrations.RunPython(take_over, migrations.RunPython.noop),
        migrations.RemoveField("event", "subject"),
        migrations.AddIndex("event", models.Index(fields=["kind", "-id"], name="event_by_kind")),
        migrations.RunPython(rename_permissions, migrations.RunPython.noop),
    ]
