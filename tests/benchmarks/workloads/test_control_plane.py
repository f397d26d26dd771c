from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.workloads import control_plane
from benchmarks.workloads.control_plane import ControlPlane

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.queuesite import Site


def test_a_process_measures_and_its_database_is_removed(site: Site):
    workload = ControlPlane(60)
    workload.prepare(site)
    measurement = workload.run(0.01)
    assert workload.check() == len(ControlPlane.figures)
    assert all(measurement.value(figure) > 0 for figure in ControlPlane.figures)
    assert not [path for path in site.directory.iterdir() if path.is_dir()]


def test_a_process_that_fails_tells_why(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    workload = ControlPlane(60)
    workload.prepare(site)
    monkeypatch.setattr(control_plane, "ROOT", tmp_path)
    with pytest.raises(CheckFailed, match="No module named"):
        workload.run(0.01)
