"""What counts as flat."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.soak.samples import MIB, Sample, growing, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def taken(memory_mib: Callable[[int], float]) -> dict[str, list[Sample]]:
    return {"broker": [Sample(one, memory_mib(one), 50, 9, 4.0, 20.0) for one in range(80)]}


def test_what_grows_in_the_second_half_is_told_and_what_levels_off_is_not() -> None:
    levels_off = taken(lambda second: 100 + 5 * min(second, 20))
    assert growing(levels_off, disk_allowance_mib=0) == []
    leaks = taken(lambda second: 100 + 2 * second)
    assert growing(leaks, disk_allowance_mib=0) == ["broker: memory_mib grew from 159 to 239"]
    assert growing({"broker": []}, disk_allowance_mib=0) == ["broker: 0 samples say nothing"]


def test_a_sample_is_of_this_process_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.sqlite3-wal").write_bytes(bytes(MIB))
    (tmp_path / "b").write_bytes(bytes(2 * MIB))
    sample = take(3.0, os.getpid(), tmp_path)
    assert sample is not None
    assert (sample.seconds, sample.wal_mib, sample.disk_mib) == (3.0, 1.0, 3.0)
    assert sample.memory_mib > 10
    assert sample.descriptors > 2
    assert sample.threads >= 1


def test_a_process_that_is_gone_has_no_sample(tmp_path: Path) -> None:
    assert take(0.0, 1 << 22, tmp_path) is None
