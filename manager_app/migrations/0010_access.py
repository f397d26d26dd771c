"""API tokens with their rights, and the three groups of people."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SHOWN = (
    *("cluster", "topic", "partition", "replica", "broker", "producer", "consumer"),
    *("consumergroup", "groupmember", "deletedgroup", "event", "lossaccepted"),
)
"""Models of the manager that whoever looks at the cluster sees.

Migration 0013 makes events of audit entries, and renames the permissions of older databases."""
VIEWER = [("manager_app", model, f"view_{model}") for model in SHOWN]
OPERATOR = [*VIEWER, ("manager_app", "cluster", "operate_cluster")]
ADMINISTRATOR = [
    *OPERATOR,
    ("manager_app", "cluster", "administer_cluster"),
    ("manager_app", "topic", "change_topic"),
    *(
        (app, model, f"{action}_{model}")
        for app, model in (
            ("manager_app", "apitoken"),
            ("manager_app", "tokenright"),
            ("auth", "user"),
        )
        for action in ("view", "add", "change", "delete")
    ),
    ("auth", "group", "view_group"),
]
PERMISSIONS = {"viewer": VIEWER, "operator": OPERATOR, "administrator": ADMINISTRATOR}
"""Group -> (app, model, permission) of what its members may do. To read and publish messages is
none of it: that is given to a person alone."""


def make_groups(apps: Apps, _: BaseDatabaseSchemaEditor | None = None) -> None:
    """Make the groups; one of the same name that is there gets what it lacks."""
    permissions = apps.get_model("auth", "Permission")._default_manager
    content_types = apps.get_model("contenttypes", "ContentType")._default_manager

    @cache
    def permission(app: str, model: str, codename: str) -> Any:
        content_type, _created = content_types.get_or_create(app_label=app, model=model)
        found, _created = permissions.get_or_create(
            content_type=content_type,
            codename=codename,
            defaults={"name": f"Can {codename.replace('_', ' ')}"},
        )
        return found

    for name, wanted in PERMISSIONS.items():
        group, _created = apps.get_model("auth", "Group")._default_manager.get_or_create(name=name)
        group.permissions.add(*(permission(*one) for one in wanted))


class Migration(migrations.Migration):
    """Add the tables of API tokens and make the groups."""

    dependencies: ClassVar[list[Any]] = [
        ("manager_app", "0009_kept"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar[list[Any]] = [
        migrations.AlterModelOptions(
            name="cluster",
            options={
                "permissions": (
                    (
                        "operate_cluster",
                        "Can move and drain, and move offsets of groups (operator)",
                    ),
                    (
                        "administer_cluster",
                        "Can create, change and delete whatever (administrator)",
                    ),
                ),
                "verbose_name_plural": "cluster",
            },
        ),
        migrations.AlterModelOptions(
            name="topic",
            options={
                "ordering": ["id"],
                "permissions": (
                    ("produce_messages", "Can publish messages to every topic"),
                    ("consume_messages", "Can read the messages of every topic"),
                ),
            },
        ),
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=64, unique=True)),
                ("hash", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "role",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "none"),
                            (1, "viewer"),
                            (2, "operator"),
                            (3, "administrator"),
                        ],
                        default=0,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("last_used", models.DateTimeField(blank=True, editable=False, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_tokens",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "verbose_name": "API token",
                "constraints": [
                    models.CheckConstraint(condition=~Q(name=""), name="api_token_has_a_name"),
                    models.CheckConstraint(
                        condition=Q(role__gte=0, role__lte=3), name="api_token_role_in_range"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TokenRight",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "pattern",
                    models.CharField(
                        max_length=249,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^([A-Za-z0-9._-]{1,249}|[A-Za-z0-9._-]{0,248}\\*)\\Z",
                                "a topic's name, or the beginning of one before a *",
                            )
                        ],
                    ),
                ),
                ("produce", models.BooleanField(default=False)),
                ("consume", models.BooleanField(default=False)),
                ("manage", models.BooleanField(default=False)),
                (
                    "token",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rights",
                        to="manager_app.apitoken",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("token", "pattern"), name="token_right_once_per_pattern"
                    ),
                    models.CheckConstraint(
                        condition=Q(produce=True) | Q(consume=True) | Q(manage=True),
                        name="token_right_is_one",
                    ),
                ],
            },
        ),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
