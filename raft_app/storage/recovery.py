"""What a replica starts from, read out of its stored log with every doubt noted; pure.

Nothing here raises because of what is stored, and nothing is thrown away: a replica that lost or
doubts anything comes back faulty, with the part before the doubt where that makes sense by itself.
The log of one that is known to be faulty is not even read: it takes no part in anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from raft_app.core.types import InitialState, Membership
from raft_app.storage.protocol import Checkpoint, CorruptEntry, StoredGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raft_app.core.types import Entry, HardState
    from raft_app.storage.protocol import GroupSpec

EMPTY_CHECKPOINT = Checkpoint(
    applied_index=0, applied_term=0, membership=Membership(), membership_index=0, state=b""
)


class StoredLog(Protocol):
    """The stored entries of one group."""

    def last_index(self) -> int:
        """Return the highest stored index; 0 when nothing is stored."""

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry; `None` when it is not stored."""

    def entries(self, first_index: int, last_index: int) -> Iterable[Entry]:
        """Return the stored entries of the inclusive range, in order.

        Raises:
            CorruptEntry: a checksum does not match.
        """


@dataclass(frozen=True, slots=True)
class GroupHeader:
    """What is stored of a group beside its log."""

    spec: GroupSpec
    hard_state: HardState
    first_index: int
    previous_term: int
    """Term of the entry before `first_index`."""
    checkpoint: Checkpoint | None
    """`None` when it is missing or cannot be read."""
    faulty: str = ""
    log_start_offset: int = 0
    installing: bool = False
    """The log ends at the checkpoint; what is stored above are messages in place."""
    install_offset: int = 0
    """The offset after the messages in place. 0 unless installing."""
    acknowledged_end: tuple[int, int] | None = None
    """(last index, last term) of the log that an install cut off; `None` when not known."""


def recover(header: GroupHeader, log: StoredLog) -> StoredGroup:
    """Read the log above the checkpoint, find its terms, check everything against each other."""
    checkpoint = header.checkpoint or EMPTY_CHECKPOINT
    initial = _at_checkpoint(header, checkpoint)
    faults = [header.faulty] if header.faulty else []
    if header.checkpoint is None:
        faults.append("its checkpoint is missing or damaged")
    if not faults:
        found, faults = _with_log(initial, header, log)
        initial = found if not faults or _makes_sense(found) else initial
    return StoredGroup(
        spec=header.spec,
        initial=initial,
        checkpoint=checkpoint,
        faulty=faults[0] if faults else "",
        log_start_offset=header.log_start_offset,
        installing=header.installing,
        install_offset=header.install_offset,
    )


def _at_checkpoint(header: GroupHeader, checkpoint: Checkpoint) -> InitialState:
    """Return a state whose log is empty above the checkpoint and unknown below it."""
    state = _hard_state(header, checkpoint)
    return InitialState(
        replica_id=header.spec.replica_id,
        hard_state=replace(state, term=max(state.term, checkpoint.applied_term)),
        membership=checkpoint.membership,
        membership_index=checkpoint.membership_index,
        applied_index=checkpoint.applied_index,
        first_index=checkpoint.applied_index + 1,
        previous_term=checkpoint.applied_term,
        last_index=checkpoint.applied_index,
        acknowledged_end=header.acknowledged_end,
    )


def _with_log(
    initial: InitialState, header: GroupHeader, log: StoredLog
) -> tuple[InitialState, list[str]]:
    """Return the state with the log up to the first doubt, and every doubt."""
    checkpoint = header.checkpoint or EMPTY_CHECKPOINT
    faults: list[str] = []
    entries: list[Entry] = []
    term_starts: tuple[tuple[int, int], ...] = ()
    last_index = header.first_index - 1
    try:
        end = _end(header, checkpoint, log)
        faults += _contradictions(header, checkpoint, end)
        start = max(checkpoint.applied_index + 1, header.first_index)
        last_index = min(start - 1, end)
        for entry in _contiguous(header.spec.group_id, start, end, log):
            entries.append(entry)
            last_index = entry.index
    except CorruptEntry as error:
        faults.append(str(error))
    try:
        term_starts = tuple(_term_starts(header, last_index, log))
        faults += _wrong_terms(header, checkpoint, term_starts)
    except CorruptEntry as error:
        faults.append(str(error))
    found = replace(
        initial,
        hard_state=_hard_state(header, checkpoint),
        first_index=header.first_index,
        previous_term=header.previous_term,
        term_starts=term_starts,
        last_index=last_index,
        entries=tuple(entries),
    )
    return found, faults


def _makes_sense(found: InitialState) -> bool:
    """Whether a node can be made of it: doubts may leave a gap, or entries of unknown terms."""
    return (
        found.first_index - 1 <= found.applied_index <= found.last_index
        and len(found.entries) == found.last_index - found.applied_index
        and bool(found.term_starts) == (found.last_index >= found.first_index)
        and max((found.previous_term, *(term for _, term in found.term_starts)))
        <= found.hard_state.term
    )


def _end(header: GroupHeader, checkpoint: Checkpoint, log: StoredLog) -> int:
    """Return where the log ends."""
    if header.installing:
        return max(checkpoint.applied_index, header.first_index - 1)
    return max(log.last_index(), header.first_index - 1)


def _hard_state(header: GroupHeader, checkpoint: Checkpoint) -> HardState:
    """Return the stored one; a commit index that an install has cut off lies in the snapshot."""
    state = header.hard_state
    if header.installing and state.commit > checkpoint.applied_index:
        return replace(state, commit=checkpoint.applied_index)
    return state


def _contradictions(header: GroupHeader, checkpoint: Checkpoint, end: int) -> list[str]:
    """Return what cannot be when nothing was lost; `end` is the last stored index."""
    found = []
    if checkpoint.applied_index > end:
        found.append(f"its log ends at {end}, below the checkpoint at {checkpoint.applied_index}")
    if checkpoint.applied_index + 1 < header.first_index:
        found.append(
            f"its log begins at {header.first_index}, above the checkpoint at"
            f" {checkpoint.applied_index}"
        )
    if checkpoint.applied_term > header.hard_state.term:
        found.append(
            f"its checkpoint has term {checkpoint.applied_term}, above its own term"
            f" {header.hard_state.term}"
        )
    if header.hard_state.commit > end and not header.installing:
        found.append(f"its log ends at {end}, below the commit index {header.hard_state.commit}")
    return found


def _contiguous(group_id: int, start: int, end: int, log: StoredLog) -> Iterator[Entry]:
    """Yield the entries from `start` to `end` up to the first doubt, which is raised."""
    expected, term = start, 0
    for entry in log.entries(start, end) if start <= end else ():
        if entry.index != expected:
            raise CorruptEntry(group_id, f"entry {expected} of group {group_id} is missing")
        if entry.term < term:
            raise CorruptEntry(
                group_id,
                f"entry {entry.index} of group {group_id} has term {entry.term} after {term}",
            )
        yield entry
        expected, term = expected + 1, entry.term


def _term_starts(header: GroupHeader, last_index: int, log: StoredLog) -> Iterator[tuple[int, int]]:
    """Yield (first index, term) of each term from `first_index` to `last_index`.

    Terms never go down in a log, so each next one is found by bisection.
    """
    group_id, index = header.spec.group_id, header.first_index

    def term_at(wanted: int) -> int:
        term = log.term_at(wanted)
        if term is None:
            raise CorruptEntry(group_id, f"entry {wanted} of group {group_id} is missing")
        return term

    while index <= last_index:
        term = term_at(index)
        yield index, term
        if term_at(last_index) <= term:
            return
        low, high = index, last_index  # The term of `low` is `term`, that of `high` above it.
        while high - low > 1:
            middle = (low + high) // 2
            if term_at(middle) > term:
                high = middle
            else:
                low = middle
        index = high


def _wrong_terms(
    header: GroupHeader, checkpoint: Checkpoint, term_starts: tuple[tuple[int, int], ...]
) -> list[str]:
    """Return how the log's terms contradict the checkpoint and the hard state."""
    found = []
    applied_index = checkpoint.applied_index
    if term_starts and term_starts[0][0] <= applied_index:
        applied_term = max(term for start, term in term_starts if start <= applied_index)
        if applied_term != checkpoint.applied_term:
            found.append(
                f"entry {applied_index} has term {applied_term}, its checkpoint"
                f" {checkpoint.applied_term}"
            )
    if term_starts and term_starts[-1][1] > header.hard_state.term:
        found.append(
            f"its log has term {term_starts[-1][1]}, above its own term {header.hard_state.term}"
        )
    return found
