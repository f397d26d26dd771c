from __future__ import annotations

from typing import Any

import pytest

from myqueue.contract.group_inputs import GroupOffsetsReset
from myqueue.contract.rules.offset_moves import GroupPlaceBefore, wanted_offset

READ = GroupPlaceBefore(offset=30, log_start_offset=10, high_watermark=50)
NEW = GroupPlaceBefore(offset=None, log_start_offset=10, high_watermark=50)


@pytest.mark.parametrize(
    ("fields", "place", "at_time", "wanted"),
    [
        ({"to": "earliest"}, READ, None, 10),
        ({"to": "latest"}, READ, None, 50),
        ({"offset": 0}, READ, None, 10),
        ({"offset": 20}, READ, None, 20),
        ({"offset": 51}, READ, None, 50),
        ({"shift": -5}, READ, None, 25),
        ({"shift": -21}, READ, None, 10),
        ({"shift": 21}, READ, None, 50),
        ({"shift": 0}, READ, None, 30),
        ({"shift": 5}, NEW, None, 15),
        ({"timestamp": 0}, READ, 10, 10),
        ({"timestamp": 7}, READ, 44, 44),
        ({"timestamp": 9}, READ, 51, 50),
    ],
)
def test_an_offset_that_the_partition_has(
    fields: dict[str, Any], place: GroupPlaceBefore, at_time: int | None, wanted: int
) -> None:
    reset = GroupOffsetsReset(topic="logs", **fields)
    assert wanted_offset(reset, place, at_time=at_time) == wanted
