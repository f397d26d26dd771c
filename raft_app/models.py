"""What a broker stores, in one SQLite file: the database alias `broker`.

Written by `raft_app.storage.sqlite` alone. Primary keys are `IntegerField`s because SQLite then
uses them as the row id itself: a log is read in the order in which it lies in the file.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from raft_app.core.types import EntryKind
from raft_app.storage.rules import GROUP_ID_LIMIT, INDEX_LIMIT

TOPIC_NAME_LENGTH_MAX = 249


class RaftGroup(models.Model):
    """One local replica: its fixed facts, its hard state and where its log begins."""

    group_id = models.IntegerField(primary_key=True)
    replica_id = models.BigIntegerField()
    topic = models.CharField(max_length=TOPIC_NAME_LENGTH_MAX)
    partition = models.IntegerField()
    term = models.BigIntegerField()
    vote = models.BigIntegerField()
    """Replica id; 0 is nobody."""
    commit = models.BigIntegerField()
    """A hint: what a restart may apply at once."""
    first_index = models.BigIntegerField()
    """Lowest index of the Raft log; rows below it are messages only."""
    previous_term = models.BigIntegerField()
    """Term of the entry before `first_index`."""
    installing = models.BooleanField(default=False)
    """A snapshot is partly in place: neither campaigns nor acknowledges appends."""
    acknowledged_index = models.BigIntegerField(null=True, blank=True)
    """Where the log ended before that snapshot; null when none is in place, or when not known."""
    acknowledged_term = models.BigIntegerField(null=True, blank=True)
    """Term of the entry there."""
    log_start_offset = models.BigIntegerField(default=0)
    """Messages below it are gone, though their rows may still wait to be deleted."""
    faulty = models.TextField(default="", blank=True)
    """Why the replica is faulty; empty when it is not. Never taken back."""
    hard_state_crc = models.BigIntegerField()
    """CRC-32 over the group id, term, vote and commit."""
    facts_crc = models.BigIntegerField()
    """CRC-32 over the other columns."""

    class Meta:
        verbose_name = "Raft group"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                name="raft_group_ids_in_range",
                condition=Q(group_id__gt=0, group_id__lt=GROUP_ID_LIMIT, replica_id__gt=0),
            ),
            models.CheckConstraint(
                name="raft_group_state_not_negative",
                condition=Q(term__gte=0, vote__gte=0, commit__gte=0, first_index__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition} (group {self.group_id})"


class RaftEntry(models.Model):
    """One entry of a log: one row per record batch, holding what the client encoded."""

    id = models.IntegerField(primary_key=True)
    """`group_id << 40 | index`."""
    group_id = models.IntegerField()
    term = models.BigIntegerField()
    kind = models.SmallIntegerField(
        choices=[(kind.value, kind.name.capitalize()) for kind in EntryKind]
    )
    base_offset = models.BigIntegerField()
    record_count = models.IntegerField()
    append_timestamp = models.BigIntegerField()
    """Milliseconds since 1970."""
    crc = models.BigIntegerField()
    """CRC-32 over all other columns."""
    data = models.BinaryField()
    """Last, so that the other columns are read without it."""

    class Meta:
        verbose_name = "Raft entry"
        verbose_name_plural = "Raft entries"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                name="raft_entry_base_offset",
                fields=["group_id", "base_offset"],
                condition=Q(kind=EntryKind.DATA.value),
            ),
            models.CheckConstraint(
                name="raft_entry_id_is_group_and_index",
                condition=Q(
                    id__gt=F("group_id") * INDEX_LIMIT, id__lt=(F("group_id") + 1) * INDEX_LIMIT
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"entry {self.index} of group {self.group_id}"

    @property
    def index(self) -> int:
        """1-based position in the log."""
        return self.id & (INDEX_LIMIT - 1)


class Checkpoint(models.Model):
    """State machine and membership of a group after applying `applied_index`."""

    group_id = models.IntegerField(primary_key=True)
    applied_index = models.BigIntegerField()
    applied_term = models.BigIntegerField()
    membership = models.BinaryField()
    """As `Membership.encode` gives it."""
    membership_index = models.BigIntegerField()
    state = models.BinaryField()
    """The state machine's own encoding; empty for the initial state."""
    crc = models.BigIntegerField()
    """CRC-32 over all other columns."""

    def __str__(self) -> str:
        return f"checkpoint of group {self.group_id} at {self.applied_index}"


class BrokerIdentity(models.Model):
    """Who the directory belongs to: exactly one row."""

    id = models.IntegerField(primary_key=True, default=1)
    incarnation = models.CharField(max_length=32)
    """Random at the first start, 32 hexadecimal digits."""
    broker_id = models.BigIntegerField(default=0)
    """0 until registered."""
    cluster_id = models.CharField(max_length=64, default="", blank=True)
    """Empty until registered."""
    format_version = models.IntegerField()
    """Version of everything stored in the directory."""
    epoch = models.BigIntegerField(default=0)
    """Highest lease epoch of a manager that this broker has obeyed."""

    class Meta:
        verbose_name_plural = "broker identity"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(name="raft_broker_identity_one_row", condition=Q(id=1))
        ]

    def __str__(self) -> str:
        return f"broker {self.broker_id} ({self.incarnation})"


class PeerAddress(models.Model):
    """Where another broker was last known to listen."""

    broker_id = models.IntegerField(primary_key=True)
    http_address = models.CharField(max_length=300)
    """`http://host:port`."""
    raft_address = models.CharField(max_length=300)
    """`host:port`."""

    class Meta:
        verbose_name_plural = "peer addresses"

    def __str__(self) -> str:
        return f"broker {self.broker_id} at {self.raft_address}"


class UsedReplicaId(models.Model):
    """A replica id that this directory has had for a group; stays when the replica goes."""

    group_id = models.IntegerField()
    replica_id = models.BigIntegerField()

    class Meta:
        verbose_name = "used replica id"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                name="raft_used_replica_id_once", fields=["group_id", "replica_id"]
            )
        ]

    def __str__(self) -> str:
        return f"replica {self.replica_id} of group {self.group_id}"
