"""What may be stored after what: the refusals that both storages share; pure.

A caller that breaks one of these rules has lost track of its own log, so nothing of the whole
transaction is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from raft_app.core.types import EntryKind
from raft_app.storage.protocol import (
    AdoptGroup,
    BrokerIdentity,
    Compact,
    CreateGroup,
    DeleteGroup,
    FinishInstall,
    GroupWrite,
    InstallRows,
    Operation,
    ReleaseSpace,
    SaveCheckpoint,
    SaveIdentity,
    SavePeers,
    SetFaulty,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_app.core.types import Entry


INDEX_BITS = 40
"""The id of an entry's row is its group id, shifted by this, plus its index."""
INDEX_LIMIT = 1 << INDEX_BITS
"""Indexes are below it."""
GROUP_ID_LIMIT = 1 << (63 - INDEX_BITS)
"""Group ids are below it."""


class GroupFacts(Struct, frozen=True):
    """What the rules need to know of one group."""

    replica_id: int = 0
    """0 when there is no replica of it."""
    last_index: int = 0
    """Where the log ends, also when it is empty."""
    applied_index: int = 0
    """That of the checkpoint."""
    used_replica_ids: frozenset[int] = frozenset()
    """Every id that a replica of the group ever had here, the present one's included."""
    installing: bool = False
    """A snapshot is partly in place; the log ends at the checkpoint."""
    installed_index: int = 0
    """Highest index of a message in place. 0 unless installing."""
    install_offset: int = 0
    """The offset after the messages in place. 0 unless installing."""


class PlannedOperation(Struct, frozen=True):
    """One operation to carry out."""

    operation: Operation
    replaces: bool = False
    """The end of the log must go before: from the first entry on, or all above the checkpoint."""
    applied_index: int = 0
    """That of the checkpoint before the operation."""


@dataclass(slots=True)
class Plan:
    """What a transaction will do, and what will be true after it."""

    steps: list[PlannedOperation] = field(default_factory=list)
    facts: dict[int, GroupFacts] = field(default_factory=dict)
    """Of the groups that it touches."""
    identity: BrokerIdentity | None = None
    """Set when it changes."""


def plan_transaction(
    operations: Iterable[Operation],
    facts_of: Callable[[int], GroupFacts],
    identity: BrokerIdentity,
) -> Plan:
    """Check operations, each against what is true after those before it.

    Operations that would change nothing are left out.

    Args:
        operations: what the caller wants stored in one transaction.
        facts_of: returns what is stored of a group.
        identity: the stored identity.

    Raises:
        StorageError: one of them contradicts what is stored.
    """
    plan = Plan()
    for operation in operations:
        match operation:
            case GroupWrite(group_id=group_id):
                facts = _existing(group_id, plan.facts.get(group_id) or facts_of(group_id))
                step, plan.facts[group_id] = _plan_write(operation, facts)
                plan.steps.append(step)
            case SaveIdentity(identity=new):
                _check_identity(plan.identity or identity, new)
                plan.identity = new
                plan.steps.append(PlannedOperation(operation))
            case SavePeers() | ReleaseSpace():
                plan.steps.append(PlannedOperation(operation))
            case InstallRows(group_id=group_id) | FinishInstall(group_id=group_id):
                facts = _existing(group_id, plan.facts.get(group_id) or facts_of(group_id))
                replaces = not facts.installing
                plan.steps.append(PlannedOperation(operation, replaces, facts.applied_index))
                plan.facts[group_id] = _plan_install(operation, facts)
            case _:
                group_id = _group_id_of(operation)
                changed = _plan_group(operation, plan.facts.get(group_id) or facts_of(group_id))
                if changed is not None:
                    plan.facts[group_id] = changed
                    plan.steps.append(PlannedOperation(operation))
    return plan


GroupOperation = CreateGroup | AdoptGroup | DeleteGroup | SaveCheckpoint | Compact | SetFaulty


def _group_id_of(operation: GroupOperation) -> int:
    if isinstance(operation, CreateGroup | AdoptGroup):
        return operation.spec.group_id
    return operation.group_id


def _plan_group(operation: GroupOperation, facts: GroupFacts) -> GroupFacts | None:
    """Return the facts after the operation; `None` when it changes nothing."""
    match operation:
        case CreateGroup():
            return _plan_create(operation, facts)
        case AdoptGroup(spec=spec):
            return _plan_adopt(operation, _existing(spec.group_id, facts))
        case DeleteGroup():
            if facts.replica_id == 0:
                return None
            return GroupFacts(used_replica_ids=facts.used_replica_ids)
        case SaveCheckpoint(group_id=group_id, checkpoint=checkpoint):
            facts = _existing(group_id, facts)
            index = checkpoint.applied_index
            if not facts.applied_index <= index <= facts.last_index:
                raise StorageError(
                    f"a checkpoint of group {group_id} at {index} is not between the present one"
                    f" at {facts.applied_index} and the log's end at {facts.last_index}"
                )
            return replace(facts, applied_index=index)
        case Compact(group_id=group_id):
            return _plan_compact(operation, _existing(group_id, facts))
        case SetFaulty(group_id=group_id, reason=reason):
            if not reason:
                raise StorageError(f"no reason why group {group_id} is faulty")
            return _existing(group_id, facts)


def _plan_create(operation: CreateGroup, facts: GroupFacts) -> GroupFacts | None:
    spec, applied_index = operation.spec, operation.checkpoint.applied_index
    if not 0 < spec.group_id < GROUP_ID_LIMIT:
        raise StorageError(f"group id {spec.group_id} is not between 1 and {GROUP_ID_LIMIT - 1}")
    if spec.replica_id <= 0:
        raise StorageError(f"replica id {spec.replica_id} is not positive")
    if facts.replica_id == spec.replica_id:
        return None
    if facts.replica_id:
        raise StorageError(
            f"group {spec.group_id} has replica {facts.replica_id} here, so not {spec.replica_id}"
        )
    if spec.replica_id in facts.used_replica_ids:
        raise StorageError(
            f"replica id {spec.replica_id} of group {spec.group_id} was used here before and was"
            " deleted; replica ids are never reused"
        )
    _check_entries(spec.group_id, operation.entries)
    first_index = applied_index + 1
    if operation.entries and operation.entries[0].index != first_index:
        raise StorageError(
            f"the entries of the new group {spec.group_id} begin at {operation.entries[0].index},"
            f" not at {first_index}"
        )
    return GroupFacts(
        replica_id=spec.replica_id,
        last_index=applied_index + len(operation.entries),
        applied_index=applied_index,
        used_replica_ids=facts.used_replica_ids | {spec.replica_id},
    )


def _plan_adopt(operation: AdoptGroup, facts: GroupFacts) -> GroupFacts:
    spec, entries = operation.spec, operation.entries
    if spec.replica_id <= 0 or spec.replica_id in facts.used_replica_ids:
        raise StorageError(
            f"replica id {spec.replica_id} of group {spec.group_id} is not a new one"
        )
    if facts.installing:
        raise StorageError(f"group {spec.group_id} is installing a snapshot")
    _check_entries(spec.group_id, entries)
    if not entries or entries[0].index != facts.last_index + 1:
        raise StorageError(f"the log of group {spec.group_id} goes on at {facts.last_index + 1}")
    return GroupFacts(
        replica_id=spec.replica_id,
        last_index=entries[-1].index,
        applied_index=facts.applied_index,
        used_replica_ids=facts.used_replica_ids | {spec.replica_id},
    )


def _plan_write(operation: GroupWrite, facts: GroupFacts) -> tuple[PlannedOperation, GroupFacts]:
    if not operation.entries:
        return PlannedOperation(operation), facts
    if facts.installing:
        raise StorageError(f"group {operation.group_id} takes no entries while it is installing")
    _check_entries(operation.group_id, operation.entries)
    first_index = operation.entries[0].index
    if first_index > facts.last_index + 1:
        raise StorageError(
            f"entry {first_index} of group {operation.group_id} would leave a gap after entry"
            f" {facts.last_index}"
        )
    if first_index <= facts.applied_index:
        raise StorageError(
            f"entry {first_index} of group {operation.group_id} is covered by the checkpoint at"
            f" {facts.applied_index} and must not be replaced"
        )
    return (
        PlannedOperation(operation, first_index <= facts.last_index),
        GroupFacts(
            facts.replica_id,
            operation.entries[-1].index,
            facts.applied_index,
            facts.used_replica_ids,
        ),
    )


def _plan_compact(operation: Compact, facts: GroupFacts) -> GroupFacts:
    if operation.first_index > facts.applied_index + 1:
        raise StorageError(
            f"the log of group {operation.group_id} cannot begin at {operation.first_index}: its"
            f" checkpoint is at {facts.applied_index}"
        )
    if not facts.installing:
        return facts
    return replace(facts, install_offset=max(facts.install_offset, operation.log_start_offset))


def _plan_install(operation: InstallRows | FinishInstall, facts: GroupFacts) -> GroupFacts:
    """Return the facts after it; where the first rows must begin only what is stored tells."""
    if isinstance(operation, FinishInstall):
        return _plan_end_of_install(operation, facts)
    group_id, rows = operation.group_id, operation.rows
    if not rows:
        raise StorageError(f"no rows to install in group {group_id}")
    begin = max(facts.install_offset, operation.log_start_offset)
    expected = begin if facts.installing else rows[0].base_offset
    index = max(facts.applied_index, facts.installed_index)
    for row in rows:
        if row.kind is not EntryKind.DATA or not index < row.index < INDEX_LIMIT:
            raise StorageError(f"{row.kind.name} entry {row.index} of group {group_id} is no row")
        if row.base_offset != expected or row.record_count < 1:
            raise StorageError(
                f"offset {row.base_offset} of group {group_id} comes where {expected} should"
            )
        index, expected = row.index, row.base_offset + row.record_count
    return replace(
        facts,
        last_index=facts.applied_index,
        installing=True,
        installed_index=index,
        install_offset=expected,
    )


def _plan_end_of_install(operation: FinishInstall, facts: GroupFacts) -> GroupFacts:
    group_id, index = operation.group_id, operation.checkpoint.applied_index
    if not max(facts.applied_index + 1, facts.installed_index) <= index < INDEX_LIMIT:
        raise StorageError(
            f"a snapshot of group {group_id} at {index} does not cover the checkpoint at"
            f" {facts.applied_index} and the rows up to {facts.installed_index}"
        )
    end_offset = max(facts.install_offset, operation.log_start_offset)
    if facts.installing and end_offset != operation.next_offset:
        raise StorageError(
            f"a snapshot of group {group_id} ends at offset {operation.next_offset}, the rows in"
            f" place at {end_offset}"
        )
    return GroupFacts(
        replica_id=facts.replica_id,
        last_index=index,
        applied_index=index,
        used_replica_ids=facts.used_replica_ids,
    )


def check_end(group_id: int, end_offset: int, offset: int) -> None:
    """Check, while an install begins, that it goes on where the stored messages end.

    Raises:
        StorageError: messages would be missing, or would be there twice.
    """
    if offset != end_offset:
        raise StorageError(f"offset {offset} of group {group_id} comes where {end_offset} should")


def _check_entries(group_id: int, entries: tuple[Entry, ...]) -> None:
    if not entries:
        return
    expected = entries[0].index
    for entry in entries:
        if entry.index != expected:
            raise StorageError(
                f"entry {entry.index} of group {group_id} comes where {expected} should"
            )
        expected += 1
    if expected > INDEX_LIMIT:
        raise StorageError(f"the log of group {group_id} is full: {INDEX_LIMIT - 1} entries")


def _check_identity(stored: BrokerIdentity, new: BrokerIdentity) -> None:
    if (new.incarnation, new.format_version) != (stored.incarnation, stored.format_version):
        raise StorageError("incarnation and format version of a directory never change")
    for name in ("broker_id", "cluster_id"):
        before, after = getattr(stored, name), getattr(new, name)
        if before and before != after:
            raise StorageError(f"{name} of a directory is given once: {before!r}, not {after!r}")
    if new.epoch < stored.epoch:
        raise StorageError(f"lease epoch {new.epoch} is below {stored.epoch}, stored already")


def _existing(group_id: int, facts: GroupFacts) -> GroupFacts:
    if facts.replica_id == 0:
        raise StorageError(f"there is no replica of group {group_id}")
    return facts
