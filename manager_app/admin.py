"""The manager's pages in Django's admin: read-only, but for a topic's retention, people, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Count
from django.forms import ModelForm
from django.http import HttpResponse
from django.template import engines
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from http_base.access import Role, hash_of
from manager_app import runtime
from manager_app.admin_events import TellsEvents, admin_event
from manager_app.groups.offsets import Unsaid
from manager_app.models import (
    ApiToken,
    Broker,
    Cluster,
    Consumer,
    ConsumerGroup,
    DeletedGroup,
    Event,
    GroupMember,
    LossAccepted,
    Partition,
    Producer,
    Replica,
    TokenRight,
    Topic,
)
from manager_app.placement.partition_facts import partition_facts, replica_facts, shown_state
from manager_app.placement.repair_rules import partition_condition, replica_condition
from manager_app.services.access import (
    RIGHTS_MAX,
    access_changed,
    require_role,
    require_room,
    token_text,
)
from manager_app.services.topic import topic_update
from myqueue.contract.errors import InvalidRequest

if TYPE_CHECKING:  # the theme's say nothing of types
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

    from myqueue.contract.answers import GroupOffset
else:
    from unfold.admin import ModelAdmin, TabularInline


_CLIENT_COLUMNS: tuple[str, ...] = ("id", "topic", "state", "last_heartbeat", "registered_at")
_CLIENT_FILTERS: tuple[str, ...] = ("state",)
LAG_LIMIT_S = 10.0
"""For the brokers' answers; they have a shorter limit together."""


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Pages of rows that only the manager writes: nobody may add, change or delete one."""

    show_full_result_count = False
    """What a search finds is counted, not all rows beside it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False, whatever the person may do."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False, whatever the person may do."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False, whatever the person may do."""
        return False


@admin.register(Cluster)
class ClusterAdmin(ReadOnlyAdmin):
    """The cluster's one row."""

    list_display = ("cluster_id", "epoch", "metadata_version", "primary_address")


@admin.register(Topic)
class TopicAdmin(TellsEvents, ReadOnlyAdmin):
    """Topics; partitions and replicas are changed through the API alone."""

    list_display = (
        "name",
        "partitions_at_creation",
        "replication_factor",
        "retention_ms",
        "retention_bytes",
        "created_at",
    )
    search_fields = ("name",)
    list_filter = ("replication_factor",)
    date_hierarchy = "created_at"
    readonly_fields = ("name", "partitions_at_creation", "replication_factor", "created_at")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Leave it to the permissions of the person, on the primary."""
        present = runtime.installed()
        if present is not None and not present.is_primary:
            return False
        return ModelAdmin.has_change_permission(self, request, obj)

    def save_model(
        self,
        request: HttpRequest,
        obj: Topic,
        form: Any,
        change: bool,  # Django's signature
    ) -> None:
        """Store the retention, the only field that can be edited here."""
        topic_update(
            obj.name,
            retention={
                "retention_ms": obj.retention_ms,
                "retention_bytes": obj.retention_bytes,
            },
        )


@admin.register(Partition)
class PartitionAdmin(ReadOnlyAdmin):
    """Partitions with their leaders as last reported."""

    list_display = (
        "group_id",
        "topic",
        "index",
        "leader",
        "term",
        "placement_version",
        "condition",
    )
    list_select_related = ("topic", "leader")
    search_fields = ("topic__name",)
    list_filter = ("leader",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Partition]:
        """Load replicas and brokers too, which the condition depends on."""
        return super().get_queryset(request).prefetch_related("replicas__broker")

    @admin.display(description="condition")
    def condition(self, partition: Partition) -> str:
        """Return the health of the partition in words."""
        return partition_condition(partition_facts(partition, suspects=runtime.suspects()))


@admin.register(Replica)
class ReplicaAdmin(ReadOnlyAdmin):
    """Replicas as last reported."""

    list_display = (
        "replica_id",
        "topic_name",
        "partition_index",
        "broker",
        "position",
        "progress",
        "state",
        "role",
        "membership",
        "log_start_offset",
        "high_watermark",
        "reported_at",
    )
    list_select_related = ("partition__topic", "broker")
    search_fields = ("partition__topic__name",)
    list_filter = ("state", "membership", "leaving", "role", "broker")

    @admin.display(description="progress")
    def progress(self, replica: Replica) -> str:
        """Return how far the replica is between joining its group and leaving it."""
        return replica_condition(replica_facts(replica))

    @admin.display(description="topic", ordering="partition__topic__name")
    def topic_name(self, replica: Replica) -> str:
        """Return the topic's name."""
        return replica.partition.topic.name

    @admin.display(description="partition", ordering="partition__index")
    def partition_index(self, replica: Replica) -> int:
        """Return the partition's index."""
        return replica.partition.index


@admin.register(Broker)
class BrokerAdmin(ReadOnlyAdmin):
    """Brokers with their states and free disk space, as last reported."""

    list_display = (
        "broker_id",
        "address",
        "raft_address",
        "shown_state",
        "draining",
        "last_heartbeat",
        "disk_free_bytes",
        "disk_slow",
        "rack",
    )
    search_fields = ("address", "incarnation", "rack")
    list_filter = ("state", "draining", "rack")

    @admin.display(description="state", ordering="state")
    def shown_state(self, broker: Broker) -> str:
        """Return its state, or `suspect` while it is silent."""
        return shown_state(broker.broker_id, broker.state, suspects=runtime.suspects())


class ClientAdmin(ReadOnlyAdmin):
    """What the pages of producers and consumers have in common."""

    list_display = _CLIENT_COLUMNS
    list_select_related = ("topic",)
    search_fields = ("=id", "topic__name")
    list_filter = _CLIENT_FILTERS
    date_hierarchy = "registered_at"


@admin.register(Producer)
class ProducerAdmin(ClientAdmin):
    """Registered producers."""


@admin.register(Consumer)
class ConsumerAdmin(ClientAdmin):
    """Registered consumers."""

    list_display = (*_CLIENT_COLUMNS, "start")
    list_filter = (*_CLIENT_FILTERS, "start")


@admin.register(ConsumerGroup)
class ConsumerGroupAdmin(ReadOnlyAdmin):
    """Consumer groups; the page of one asks the brokers for its lag."""

    list_display = ("name", "generation", "member_count", "subscribed", "created_at")
    search_fields = ("name",)
    date_hierarchy = "created_at"
    fields = ("name", "generation", "subscribed", "created_at", "lag")
    readonly_fields = ("subscribed", "lag")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConsumerGroup]:
        """Add the number of members, by which the list can be sorted."""
        rows: QuerySet[ConsumerGroup] = super().get_queryset(request)
        return rows.annotate(members_counted=Count("members"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Name the groups of queue workers too, which brokers alone know."""
        manager = runtime.installed()
        names: list[str] = []
        if manager is not None:
            told = manager.run(manager.standings.ask(), timeout_s=LAG_LIMIT_S)
            names = list(told.work_groups)
        subtitle = f"Groups of queue workers: {', '.join(names) or 'none'}"
        return super().changelist_view(request, {"subtitle": subtitle, **(extra_context or {})})

    @admin.display(description="members", ordering="members_counted")
    def member_count(self, group: ConsumerGroup) -> int:
        """Return the number of members."""
        return int(getattr(group, "members_counted", 0))

    @admin.display(description="topics")
    def subscribed(self, group: ConsumerGroup) -> str:
        """Return the names of the subscribed topics."""
        return ", ".join(sorted(group.topics)) or "-"

    @admin.display(description="lag, in messages")
    def lag(self, group: ConsumerGroup) -> str:
        """Return the lag of each partition, as its leader answers now."""
        manager = runtime.installed()
        if manager is None:
            return "-"
        asking = manager.group_offsets.ask(group.name, sorted(group.topics))
        said = manager.run(asking, timeout_s=LAG_LIMIT_S)
        return ", ".join(
            f"{topic}/{partition}: {_lag(one)}" for (topic, partition), one in said.items()
        )


def _lag(said: GroupOffset | Unsaid) -> str:
    match said:
        case Unsaid.NO_ANSWER:
            return "?"
        case Unsaid.NOT_THERE:
            return "-"
        case _:
            return str(said.lag)


@admin.register(GroupMember)
class GroupMemberAdmin(ReadOnlyAdmin):
    """Members of consumer groups."""

    list_display = (
        "member_id",
        "group",
        "subscribed",
        "assigned",
        "session_timeout_ms",
        "last_heartbeat",
        "joined_at",
    )
    list_select_related = ("group",)
    search_fields = ("member_id", "group__name")
    date_hierarchy = "joined_at"

    @admin.display(description="topics")
    def subscribed(self, member: GroupMember) -> str:
        """Return the names of the topics that it subscribed."""
        return ", ".join(member.topics)

    @admin.display(description="partitions granted")
    def assigned(self, member: GroupMember) -> str:
        """Return the partitions that it may own."""
        return ", ".join(f"{topic}/{index}" for topic, of in member.granted.items() for index in of)


@admin.register(DeletedGroup)
class DeletedGroupAdmin(ReadOnlyAdmin):
    """Raft groups of deleted topics, which brokers are ordered to drop."""

    list_display = ("group_id", "topic_name", "index", "deleted_at")
    search_fields = ("topic_name",)
    date_hierarchy = "deleted_at"


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """What happened, and what people changed."""

    list_display = ("at", "kind", "text", "person", "origin", "outcome")
    list_filter = ("kind", "outcome")
    search_fields = ("text", "person")
    date_hierarchy = "at"


@admin.register(LossAccepted)
class LossAcceptedAdmin(ReadOnlyAdmin):
    """What people accepted as lost."""

    list_display = (
        "accepted_at",
        "accepted_by",
        "topic_name",
        "index",
        "end_offset",
        "known_offset",
        "next_offset",
        "broker_id",
        "done",
    )


class PrimaryAlone:
    """Pages of what can be changed on the primary alone: everywhere else they can be looked at."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Leave it to the permissions of the person, on the primary."""
        return _may_write() and bool(super().has_add_permission(request, *args))  # type: ignore[misc]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Leave it to the permissions of the person, on the primary."""
        return _may_write() and bool(super().has_change_permission(request, obj))  # type: ignore[misc]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Leave it to the permissions of the person, on the primary."""
        return _may_write() and bool(super().has_delete_permission(request, obj))  # type: ignore[misc]


def _may_write() -> bool:
    present = runtime.installed()
    return present is None or present.is_primary


class TokenRightInline(PrimaryAlone, TabularInline):  # type: ignore[type-arg]
    """What a token may do with topics."""

    model = TokenRight
    extra = 1
    max_num = RIGHTS_MAX
    verbose_name = "right"
    verbose_name_plural = "rights to topics: a topic's name, or the beginning of one before a *"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Name each field for who cannot see the heading of its column."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = db_field.verbose_name
        return field


class ApiTokenForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """An API token as people fill it in."""

    def clean(self) -> dict[str, Any]:
        """Refuse a role above that of the owner."""
        fields: dict[str, Any] = super().clean() or {}
        if fields.get("owner") and fields.get("role") is not None:
            try:
                require_role(fields["owner"], Role(fields["role"]))
            except InvalidRequest as error:
                self.add_error("role", error.message)
        return fields


@admin.register(ApiToken)
class ApiTokenAdmin(PrimaryAlone, TellsEvents, ModelAdmin):  # type: ignore[type-arg]
    """API tokens; the text of a new one is shown once, by the page that answers the form."""

    form = ApiTokenForm
    list_display = ("name", "owner", "role", "state", "created_at", "expires_at", "last_used")
    list_select_related = ("owner",)
    list_filter = ("role",)
    search_fields = ("name", "owner__username")
    fields = ("name", "owner", "role", "expires_at", "created_at", "last_used", "revoked_at")
    readonly_fields = ("created_at", "last_used", "revoked_at")
    inlines = (TokenRightInline,)
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """Leave out of the form of a new one what is known later."""
        known_later = self.readonly_fields if obj is None else ()
        return [name for name in self.fields if name not in known_later]

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Return whether it is taken, in a word."""
        return token.state

    @admin.action(description="Revoke for good", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        """End tokens; managers refuse them at once, brokers after their next report."""
        with transaction.atomic():
            access_changed()
            ended = list(tokens.filter(revoked_at=None))
            tokens.filter(revoked_at=None).update(revoked_at=timezone.now())
            for token in ended:
                admin_event(request, "API token revoked", token)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Store a token; a new one gets its text."""
        access_changed()  # first: the rights are stored in the same transaction
        if not change:
            require_room()
            obj.shown_once = token_text()
            obj.hash = hash_of(obj.shown_once)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new token: no redirect, which would have to carry it in a cookie."""
        context = {**self.admin_site.each_context(request), "token": obj, "title": "New API token"}
        page = engines["django"].from_string(_PAGE_OF_A_NEW_ONE).render(context, request)
        return HttpResponse(page, headers={"Cache-Control": "no-store"})

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        """Delete a token, which ends it."""
        access_changed()
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Delete tokens, which ends them."""
        with transaction.atomic():
            access_changed()
            super().delete_queryset(request, queryset)


_PAGE_OF_A_NEW_ONE = """{% extends "admin/base_site.html" %}{% block content %}
<div class="q-page"><div class="q-card q-confirm">
<p>This is the token <strong>{{ token.name }}</strong>. Copy it now: it is not shown again.</p>
<p class="q-once"><code>{{ token.shown_once }}</code></p>
<p class="q-buttons"><a class="q-button q-primary" href="../">I have copied it</a></p>
</div></div>
{% endblock %}"""


class PeopleAdmin(PrimaryAlone, TellsEvents, UserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """People; who is no superuser makes none, and leaves those alone that are."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let superusers alone make superusers."""
        fields = super().get_readonly_fields(request, obj)
        return fields if _is_superuser(request) else (*fields, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let superusers alone change a superuser."""
        return _may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let superusers alone delete a superuser."""
        return _may_touch(request, obj) and super().has_delete_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Hide superusers from actions on many people by others."""
        people: QuerySet[Any] = super().get_queryset(request)
        return people if _is_superuser(request) else people.filter(is_superuser=False)


class GroupsOfPeopleAdmin(PrimaryAlone, TellsEvents, GroupAdmin, ModelAdmin):  # type: ignore[type-arg]
    """Groups of people."""


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _may_touch(request: HttpRequest, person: Model | None) -> bool:
    return _is_superuser(request) or not getattr(person, "is_superuser", False)


admin.site.unregister(User)
admin.site.unregister(Group)
admin.site.register(User, PeopleAdmin)
admin.site.register(Group, GroupsOfPeopleAdmin)
