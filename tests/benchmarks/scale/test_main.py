from __future__ import annotations

import msgspec
import pytest

from benchmarks.scale.__main__ import main
from benchmarks.scale.costs import Growth, Line
from tests.benchmarks.scale.test_model import costs_of


@pytest.fixture
def costs(tmp_path):
    """A file with unit costs of reports alone."""
    path = tmp_path / "costs.json"
    kept = costs_of(report_same=Line(0.01, 1e-4)), [Growth("report_same", 150, 600, 0.02, 0.07)]
    path.write_bytes(msgspec.json.encode(kept))
    return str(path)


def test_the_model_is_printed_for_the_size_that_is_asked(costs, capsys):
    assert main(["--costs", costs, "--brokers", "30", "--partitions", "3000"]) == 0
    output = capsys.readouterr().out
    assert "30 brokers, 3,000 partitions of 3 replicas" in output
    # 2 reports a second of 300 replicas.
    assert "| manager  | full reports of brokers" in output
    assert "0.08 cores" in output
    assert "| a rack of 3 | 10 " in output
    assert "| report_same | 150  | 600 " in output


def test_three_brokers_have_no_rack_to_lose(costs, capsys):
    assert main(["--costs", costs, "--brokers", "3", "--partitions", "100"]) == 0
    assert "a rack" not in capsys.readouterr().out
