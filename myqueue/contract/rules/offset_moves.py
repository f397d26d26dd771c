"""Where a consumer group goes on when somebody moves its offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myqueue.contract.group_inputs import GroupOffsetsReset


@dataclass(frozen=True, slots=True)
class GroupPlaceBefore:
    """A partition and where the group is in it."""

    offset: int | None
    """None where the group was not yet: it would begin with the oldest message."""
    log_start_offset: int
    high_watermark: int


def wanted_offset(
    reset: GroupOffsetsReset, place: GroupPlaceBefore, *, at_time: int | None = None
) -> int:
    """Return the offset that a reset means in a partition; always one that the partition has.

    Args:
        reset: what is asked.
        place: of the group before.
        at_time: the first offset at or after `reset.timestamp`, when there is one.
    """
    wanted = place.log_start_offset
    if reset.to == "latest":
        wanted = place.high_watermark
    elif reset.offset is not None:
        wanted = reset.offset
    elif reset.shift is not None:
        wanted = (wanted if place.offset is None else place.offset) + reset.shift
    elif at_time is not None:
        wanted = at_time
    return min(max(wanted, place.log_start_offset), place.high_watermark)
