from __future__ import annotations

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.workloads import import_client
from benchmarks.workloads.import_client import ImportClient


def test_each_import_is_in_an_interpreter_of_its_own():
    workload = ImportClient()
    measurement = workload.run(0.01)
    assert measurement.messages == workload.check() >= 1
    assert measurement.p50_ms > 0


def test_another_library_is_found(monkeypatch):
    workload = ImportClient()
    monkeypatch.setattr(import_client, "_PROGRAM", "print(0.01, '0.0.0')")
    workload.run(0.01)
    with pytest.raises(CheckFailed, match=r"version 0\.0\.0 was imported"):
        workload.check()
