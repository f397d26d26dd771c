"""The consumer groups of one partition: generation and offset of each.

A member proves by the generation that a manager gave it that the partition is its own: the highest
generation seen is kept, and commits of lower ones change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from broker_app.partition.commands import CommitRefusal, CommitResult, Start
from myqueue.contract.errors import IllegalGeneration, InvalidRequest, OffsetOutOfRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker_app.partition.commands import CommitOffsets
    from myqueue.contract.errors import QueueError


class ConsumerGroup(Struct, array_like=True):
    """A consumer group as one partition knows it.

    Stored in snapshots by position: further fields go to the end and have a default.
    """

    generation: int
    """Highest one that a commit carried; 0 when no member of a generation ever did."""
    offset: int
    """Everything below is read; may lie below the log start until the group is told."""
    origin: int
    """Index of the entry that made the group here: another one after it was forgotten."""


class ConsumerGroups:
    """The consumer groups of a partition, by name."""

    def __init__(self) -> None:
        self._groups: dict[str, ConsumerGroup] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def get(self, name: str) -> ConsumerGroup | None:
        """Return a group, None when it is not known."""
        return self._groups.get(name)

    def make(self, name: str, *, generation: int, offset: int, index: int) -> ConsumerGroup:
        """Add a group that is not known yet; `index` is of the entry that makes it."""
        assert name not in self._groups, name
        made = self._groups[name] = ConsumerGroup(generation, offset, index)
        return made

    def commit(
        self, commit: CommitOffsets, *, log_start_offset: int, next_offset: int, index: int
    ) -> CommitResult:
        """Make a generation known and move the offset, or leave everything as it is.

        An offset below the log start is moved up to it; the messages between count as missed.

        Args:
            commit: the command.
            log_start_offset: oldest offset still stored.
            next_offset: the high watermark.
            index: of the command's entry.

        Returns:
            Where the group is now; `refused` when the command changed nothing.
        """
        group = self._groups.get(commit.group)
        refused = refusal(group, commit, next_offset=next_offset)
        if refused is not None:
            generation, offset = (group.generation, group.offset) if group else (0, 0)
            return CommitResult(generation, max(offset, log_start_offset), refused=refused)
        begin = next_offset if commit.start is Start.LATEST else log_start_offset
        if group is None:
            group = self.make(commit.group, generation=0, offset=begin, index=index)
        group.generation = commit.generation
        wanted = group.offset if commit.offset is None else commit.offset
        group.offset = max(wanted, log_start_offset)
        return CommitResult(group.generation, group.offset, missed=group.offset - wanted)

    def forget(self, name: str) -> bool:
        """Drop a group; False when it was not known."""
        return self._groups.pop(name, None) is not None

    def rows(self) -> list[tuple[str, ConsumerGroup]]:
        """Return all groups in the order in which they were made, to be stored."""
        return list(self._groups.items())

    def load(self, rows: Iterable[tuple[str, ConsumerGroup]]) -> None:
        """Take over what `rows` returned."""
        self._groups = dict(rows)


def refusal(
    group: ConsumerGroup | None, commit: CommitOffsets, *, next_offset: int
) -> CommitRefusal | None:
    """Return why a commit may not take effect, None when it may.

    Args:
        group: as far as it is known.
        commit: the command.
        next_offset: the high watermark.
    """
    if group is not None and commit.generation < group.generation:
        return CommitRefusal.GENERATION
    if commit.offset is not None and not 0 <= commit.offset <= next_offset:
        return CommitRefusal.OFFSET
    return None


def commit_error(
    commit: CommitOffsets,
    refused: CommitRefusal,
    *,
    generation: int,
    log_start_offset: int,
    next_offset: int,
) -> QueueError:
    """Return the error for a member whose commit is refused.

    Args:
        commit: the command.
        refused: why.
        generation: the known one.
        log_start_offset: oldest offset still stored.
        next_offset: the high watermark.
    """
    match refused:
        case CommitRefusal.GENERATION:
            return IllegalGeneration(
                f"group '{commit.group}' is at generation {generation}, past {commit.generation}:"
                " join again",
                generation=generation,
            )
        case CommitRefusal.OFFSET:
            return OffsetOutOfRange(
                f"offset {commit.offset} is outside 0 to {next_offset}",
                log_start_offset=log_start_offset,
                high_watermark=next_offset,
            )
        case CommitRefusal.WORKERS:
            return InvalidRequest(
                f"workers of group '{commit.group}' have messages out: settle them, or use another"
                " group",
                field="group",
            )
