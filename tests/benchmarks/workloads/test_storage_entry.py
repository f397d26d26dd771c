from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.measurement import Figure
from benchmarks.storage_process import TURN
from benchmarks.workloads import storage_entry
from benchmarks.workloads.storage_entry import StorageEntry

if TYPE_CHECKING:
    from benchmarks.peers.queuesite import Site


def test_entries_are_stored_by_both_and_read_back(site: Site):
    workload = StorageEntry()
    workload.prepare(site)
    measurement = workload.run(0.01)
    assert measurement.messages == workload.check() >= 2 * TURN
    assert measurement.value(Figure.ENTRY_US) > 0
    assert measurement.value(Figure.BARE_ENTRY_US) > 0
    assert measurement.value(Figure.ENTRY_RATIO) > 0
    assert measurement.p50_ms > 0
    assert not [path for path in site.directory.iterdir() if path.is_dir()]


def test_a_process_that_fails_tells_why(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    workload = StorageEntry()
    workload.prepare(site)
    monkeypatch.setattr(storage_entry, "ROOT", tmp_path)
    with pytest.raises(CheckFailed, match="No module named"):
        workload.run(0.01)
