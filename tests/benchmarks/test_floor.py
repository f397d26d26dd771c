from __future__ import annotations

from benchmarks.floor import FloorKind, measure_floor
from benchmarks.measurement import Figure


def test_each_kind_of_write_is_measured_and_its_files_removed(tmp_path):
    floor = measure_floor(tmp_path, seconds=0.01)
    for kind in FloorKind:
        assert floor.value(kind, Figure.PER_SECOND) > 0
        assert floor.value(kind, Figure.P50_MS) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_blob_counts_as_its_messages(tmp_path):
    blob = measure_floor(tmp_path, seconds=0.01).sqlite_blob
    assert blob.messages % 1_000 == 0
    assert blob.p50_ms < blob.seconds * 1_000
