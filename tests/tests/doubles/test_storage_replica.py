"""What belongs to one replica in memory."""

from __future__ import annotations

from raft_app.core.types import HardState
from raft_app.storage.protocol import GroupSpec, GroupWrite
from tests.doubles.storage_replica import MemoryReplica
from tests.raft_app.storage.storage_harness import checkpoint_at, compact, data_entry, noop


def replica() -> MemoryReplica:
    made = MemoryReplica(
        spec=GroupSpec(1, 1, "orders", 0),
        hard_state=HardState(1),
        checkpoint=checkpoint_at(4),
        first_index=1,
        previous_term=0,
    )
    made.write(GroupWrite(1, None, (noop(1), data_entry(2, offset=0), noop(3), noop(4), noop(5))))
    return made


def test_copy_is_not_changed_by_what_happens_to_the_original() -> None:
    original = replica()
    copy = original.copy()
    original.write(GroupWrite(1, HardState(2), (noop(3, term=2),)))
    original.damaged.add(1)
    assert (copy.last_index(), copy.hard_state, copy.damaged) == (5, HardState(1), set())
    assert original.last_index() == 3


def test_deleted_row_takes_its_damage_along() -> None:
    found = replica()
    found.damaged |= {1, 2}
    found.lost.add(5)
    assert not found.compact(compact(4))
    found.write(GroupWrite(1, None, (noop(5),)))
    assert (found.damaged, found.lost) == ({2}, set())
    assert [row.index for row in found.rows] == [2, 4, 5]


def test_lost_row_is_not_there() -> None:
    found = replica()
    found.lost |= {2, 5}
    assert (found.last_index(), found.end_offset(), found.term_at(5)) == (4, 0, None)
    assert [row.index for row in found.entries(1, 9)] == [1, 3, 4]
