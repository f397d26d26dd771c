"""Read-only pages of what a broker stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from raft_app.models import BrokerIdentity, Checkpoint, RaftEntry, RaftGroup

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows and changes none: a human must not write what consensus stores."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        """Nobody deletes."""
        return False


@admin.register(RaftGroup)
class RaftGroupAdmin(ReadOnlyAdmin):
    """The local replicas."""

    list_display = (
        "group_id",
        "topic",
        "partition",
        "replica_id",
        "term",
        "vote",
        "commit",
        "first_index",
        "faulty",
    )
    list_filter = ("topic", "installing")
    search_fields = ("topic",)


@admin.register(RaftEntry)
class RaftEntryAdmin(ReadOnlyAdmin):
    """The entries of all logs, without what they carry."""

    list_display = (
        "group_id",
        "index",
        "term",
        "kind",
        "base_offset",
        "record_count",
        "append_timestamp",
    )
    list_filter = ("kind",)
    exclude = ("data",)
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RaftEntry]:
        """Leave the record batches in the file."""
        queryset: QuerySet[RaftEntry] = super().get_queryset(request)
        return queryset.defer("data")


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """The newest checkpoint of each local replica."""

    list_display = ("group_id", "applied_index", "applied_term", "membership_index")
    exclude = ("state", "membership")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Checkpoint]:
        """Leave the states in the file."""
        queryset: QuerySet[Checkpoint] = super().get_queryset(request)
        return queryset.defer("state")


@admin.register(BrokerIdentity)
class BrokerIdentityAdmin(ReadOnlyAdmin):
    """Who this directory belongs to."""

    list_display = ("broker_id", "incarnation", "cluster_id", "epoch", "format_version")
