"""One suite for both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.core.types import Entry, EntryKind, HardState
from raft_app.storage.protocol import (
    BrokerIdentity,
    DeleteGroup,
    PeerAddress,
    SaveCheckpoint,
    SaveIdentity,
    SavePeers,
    SetFaulty,
    StorageError,
    StorageRefusal,
)
from tests.raft_app.storage.storage_harness import (
    INITIAL,
    append,
    checkpoint_at,
    create,
    data_entry,
    noop,
    only_group,
)

if TYPE_CHECKING:
    from raft_app.storage.protocol import Operation
    from tests.raft_app.storage.storage_harness import Disk

MIB = 1 << 20


# --- the directory ------------------------------------------------------------------------------


def test_identity_is_made_once_and_stays(disk: Disk) -> None:
    disk.storage.close()
    identity = disk.storage.open()
    assert len(bytes.fromhex(identity.incarnation)) == 16
    assert identity == BrokerIdentity(incarnation=identity.incarnation)
    disk.storage.close()
    assert disk.storage.open() == identity


def test_identity_takes_the_numbers_that_the_manager_gives(disk: Disk) -> None:
    disk.storage.close()
    incarnation = disk.storage.open().incarnation
    registered = BrokerIdentity(incarnation, broker_id=4, cluster_id="c1")
    disk.storage.write([SaveIdentity(registered)])
    disk.storage.write([SaveIdentity(registered)])
    disk.storage.close()
    assert disk.storage.open() == registered


@pytest.mark.parametrize(
    "changed",
    [
        BrokerIdentity("{incarnation}", broker_id=5, cluster_id="c1"),
        BrokerIdentity("{incarnation}", broker_id=4, cluster_id="c2"),
        BrokerIdentity("0" * 32, broker_id=4, cluster_id="c1"),
    ],
)
def test_identity_once_given_never_changes(disk: Disk, changed: BrokerIdentity) -> None:
    disk.storage.close()
    incarnation = disk.storage.open().incarnation
    changed = BrokerIdentity(
        changed.incarnation.format(incarnation=incarnation), changed.broker_id, changed.cluster_id
    )
    registered = BrokerIdentity(incarnation, broker_id=4, cluster_id="c1")
    disk.storage.write([SaveIdentity(registered)])
    with pytest.raises(StorageError):
        disk.storage.write([SaveIdentity(changed)])
    disk.storage.close()
    assert disk.storage.open() == registered


def test_second_opening_of_a_directory_is_refused(disk: Disk) -> None:
    with pytest.raises(StorageRefusal, match="in use"):
        disk.second().open()
    disk.storage.write([create()])


@pytest.mark.parametrize("version", [0, 3])
def test_other_format_version_is_refused_and_nothing_stays_open(disk: Disk, version: int) -> None:
    disk.storage.close()
    disk.claim_format_version(version)
    for _ in range(2):
        with pytest.raises(StorageRefusal, match=f"format version {version}"):
            disk.storage.open()


def test_closed_storage_answers_nothing(disk: Disk) -> None:
    disk.storage.close()
    with pytest.raises(StorageError, match="closed"):
        disk.storage.load_groups()
    with pytest.raises(StorageError, match="closed"):
        disk.storage.write([create()])
    with pytest.raises(StorageError, match="closed"):
        disk.storage.read_entries(1, 1, 1, MIB)


def test_peers_are_replaced_by_broker_id(disk: Disk) -> None:
    one = PeerAddress(1, "http://a:1", "a:2")
    two = PeerAddress(2, "http://b:1", "b:2")
    moved = PeerAddress(1, "http://c:1", "c:2")
    disk.storage.write([SavePeers((two, one)), SavePeers((moved,))])
    assert disk.reopened().load_peers() == [moved, two]


# --- groups -------------------------------------------------------------------------------------


def test_new_group_comes_back_as_it_was_made(disk: Disk) -> None:
    membership = Entry(1, 1, EntryKind.MEMBERSHIP, INITIAL.membership.encode())
    made = create(entries=(membership, data_entry(2, offset=0)))
    disk.storage.write([made])
    group = only_group(disk.reopened())
    assert group.spec == made.spec
    assert group.checkpoint == INITIAL
    assert group.faulty == ""
    assert group.initial.replica_id == 1
    assert group.initial.hard_state == HardState(term=1)
    assert group.initial.membership == INITIAL.membership
    assert group.initial.membership_index == 0
    assert group.initial.entries == made.entries
    assert group.initial.term_starts == ((1, 1),)
    assert (group.initial.first_index, group.initial.last_index) == (1, 2)


def test_group_without_entries_has_an_empty_log(disk: Disk) -> None:
    disk.storage.write([create()])
    initial = only_group(disk.reopened()).initial
    assert (initial.first_index, initial.last_index, initial.entries) == (1, 0, ())
    assert initial.term_starts == ()


def test_group_made_from_a_checkpoint_begins_above_it(disk: Disk) -> None:
    made = create()
    made = type(made)(made.spec, HardState(term=3), (noop(11, term=3),), checkpoint_at(10, term=2))
    disk.storage.write([made])
    group = only_group(disk.reopened())
    assert group.faulty == ""
    assert (group.initial.first_index, group.initial.previous_term) == (11, 2)
    assert group.initial.term_starts == ((11, 3),)


def test_creating_the_same_replica_again_changes_nothing(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), hard_state=HardState(2, 3))])
    disk.storage.write([create()])
    initial = only_group(disk.reopened()).initial
    assert initial.hard_state == HardState(2, 3)
    assert initial.last_index == 1


def test_group_with_another_replica_here_is_refused(disk: Disk) -> None:
    disk.storage.write([create(replica_id=1)])
    with pytest.raises(StorageError, match="replica 1"):
        disk.storage.write([create(replica_id=2)])
    assert only_group(disk.reopened()).spec.replica_id == 1


def test_deleted_replica_leaves_nothing_but_its_used_id(disk: Disk) -> None:
    disk.storage.write([create(1), create(2), append(data_entry(1)), DeleteGroup(1)])
    disk.storage.write([DeleteGroup(1)])
    storage = disk.reopened()
    assert [group.spec.group_id for group in storage.load_groups()] == [2]
    assert storage.read_entries(1, 1, 1, MIB) == []
    assert storage.read_batches(1, 0, 1, MIB) == []
    assert storage.used_replica_ids(1) == {1}
    assert storage.used_replica_ids(9) == frozenset()


def test_replica_id_is_never_used_again(disk: Disk) -> None:
    disk.storage.write([create(replica_id=1), DeleteGroup(1)])
    storage = disk.reopened()
    with pytest.raises(StorageError, match="never reused"):
        storage.write([create(replica_id=1)])
    storage.write([create(replica_id=2)])
    assert storage.used_replica_ids(1) == {1, 2}
    assert only_group(disk.reopened()).spec.replica_id == 2


@pytest.mark.parametrize(
    "operation",
    [
        append(data_entry(1), group_id=9),
        append(group_id=9, hard_state=HardState(1)),
        SaveCheckpoint(9, INITIAL),
        SetFaulty(9, "why"),
        create(0),
        create(1 << 23),
        create(9, replica_id=0),
        create(9, entries=(data_entry(2),)),
    ],
)
def test_operation_on_what_cannot_be_is_refused(disk: Disk, operation: Operation) -> None:
    with pytest.raises(StorageError):
        disk.storage.write([operation])
    assert disk.reopened().load_groups() == []


def test_largest_group_id_is_stored(disk: Disk) -> None:
    largest = (1 << 23) - 1
    disk.storage.write([create(largest), append(data_entry(1), group_id=largest)])
    assert disk.reopened().read_entries(largest, 1, 1, MIB) == [data_entry(1)]


# --- entries and hard state ---------------------------------------------------------------------


def test_hard_state_alone_and_with_entries_is_stored(disk: Disk) -> None:
    disk.storage.write([create()])
    disk.storage.write([append(hard_state=HardState(5, 2, 0))])
    assert only_group(disk.reopened()).initial.hard_state == HardState(5, 2, 0)
    disk.storage.write([append(noop(1, term=5), hard_state=HardState(5, 2, 1))])
    assert only_group(disk.reopened()).initial.hard_state == HardState(5, 2, 1)


def test_commit_hint_alone_is_stored(disk: Disk) -> None:
    disk.storage.write([create(), append(noop(1))])
    disk.storage.write([append(hard_state=HardState(1, 0, 1))])
    assert only_group(disk.reopened()).initial.hard_state.commit == 1


def test_last_of_several_hard_states_in_one_write_counts(disk: Disk) -> None:
    disk.storage.write([create(1), create(2)])
    disk.storage.write(
        [
            append(hard_state=HardState(2, 1)),
            append(hard_state=HardState(7, 2), group_id=2),
            append(hard_state=HardState(3, 3)),
        ]
    )
    states = [group.initial.hard_state for group in disk.reopened().load_groups()]
    assert states == [HardState(3, 3), HardState(7, 2)]


def test_entries_of_every_kind_come_back_exactly(disk: Disk) -> None:
    entries = (
        noop(1),
        data_entry(2, offset=0, record_count=10_000, data=bytes(range(256)) * 300),
        Entry(3, 1, EntryKind.COMMAND, b"\x00pop"),
        Entry(4, 1, EntryKind.MEMBERSHIP, INITIAL.membership.encode()),
        data_entry(5, offset=10_000, data=b""),
    )
    disk.storage.write([create(), append(*entries)])
    storage = disk.reopened()
    assert storage.read_entries(1, 1, 5, MIB) == list(entries)
    assert only_group(storage).initial.entries == entries


def test_suffix_is_replaced_from_the_first_entry_on(disk: Disk) -> None:
    disk.storage.write([create(), append(*(data_entry(index) for index in range(1, 6)))])
    replacing = (data_entry(3, term=2), data_entry(4, term=2))
    disk.storage.write([append(*replacing, hard_state=HardState(2))])
    storage = disk.reopened()
    assert storage.read_entries(1, 1, 9, MIB) == [data_entry(1), data_entry(2), *replacing]
    assert only_group(storage).initial.term_starts == ((1, 1), (3, 2))
    assert [batch.base_offset for batch in storage.read_batches(1, 0, 9, MIB)] == [0, 1, 2, 3]


def test_suffix_is_replaced_within_one_write(disk: Disk) -> None:
    disk.storage.write([create()])
    disk.storage.write(
        [
            append(data_entry(1), data_entry(2), data_entry(3)),
            append(data_entry(2, term=2), hard_state=HardState(2)),
            append(data_entry(3, term=2), data_entry(4, term=2)),
            append(noop(4, term=3), hard_state=HardState(3)),
        ]
    )
    stored = [(entry.index, entry.term) for entry in disk.reopened().read_entries(1, 1, 9, MIB)]
    assert stored == [(1, 1), (2, 2), (3, 2), (4, 3)]


def test_suffix_can_be_replaced_after_a_restart(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2), data_entry(3))])
    storage = disk.reopened()
    storage.write([append(data_entry(2, term=2), hard_state=HardState(2))])
    assert storage.read_entries(1, 1, 9, MIB) == [data_entry(1), data_entry(2, term=2)]


@pytest.mark.parametrize(
    "entries",
    [(data_entry(4),), (data_entry(3), data_entry(5)), (data_entry(3), data_entry(3))],
    ids=["after a gap", "with a gap", "twice"],
)
def test_gap_is_refused_and_the_whole_write_with_it(disk: Disk, entries: tuple[Entry, ...]) -> None:
    disk.storage.write([create(1), create(2), append(data_entry(1), data_entry(2))])
    with pytest.raises(StorageError):
        disk.storage.write([append(data_entry(1), group_id=2), append(*entries)])
    storage = disk.reopened()
    assert [group.initial.last_index for group in storage.load_groups()] == [2, 0]


def test_write_goes_on_after_a_refusal(disk: Disk) -> None:
    disk.storage.write([create()])
    with pytest.raises(StorageError):
        disk.storage.write([append(data_entry(1)), append(data_entry(3))])
    disk.storage.write([append(data_entry(1), data_entry(2))])
    assert only_group(disk.reopened()).initial.last_index == 2


def test_entry_under_the_checkpoint_is_never_replaced(disk: Disk) -> None:
    disk.storage.write([create(), append(data_entry(1), data_entry(2), data_entry(3))])
    disk.storage.write([SaveCheckpoint(1, checkpoint_at(2))])
    with pytest.raises(StorageError, match="covered by the checkpoint"):
        disk.reopened().write([append(data_entry(2, term=2))])
    disk.storage.write([append(data_entry(3, term=2), hard_state=HardState(2))])
    assert disk.storage.read_entries(1, 2, 3, MIB) == [data_entry(2), data_entry(3, term=2)]


def test_empty_write_changes_nothing(disk: Disk) -> None:
    before = disk.storage.transactions
    disk.storage.write([])
    assert disk.storage.transactions == before
