from __future__ import annotations

import msgspec

from benchmarks.results import FILE_NAME, Result, append_results, read_machine
from tests.benchmarks.samples import measured, outcome


def test_each_outcome_is_a_line_that_can_be_read_back(tmp_path):
    directory = tmp_path / "results"
    append_results([outcome("sync_1", measured(100), measured(300), measured(200))], directory)
    path = append_results([outcome("http_16", measured(5))], directory)
    assert path == directory / FILE_NAME
    results = [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]
    assert [result.outcome.workload for result in results] == ["sync_1", "http_16"]
    assert results[0].medians.messages == 200
    assert results[0].machine == read_machine()
    assert results[0].date.endswith("+00:00")


def test_the_machine_is_described():
    machine = read_machine()
    assert machine.cores >= 1
    assert machine.python.startswith("3.")
