from __future__ import annotations

import pytest

from benchmarks import __main__ as command
from benchmarks.harness import Options, WorkloadFailed
from benchmarks.registry import STANDARD
from tests.benchmarks.samples import measured, outcome


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Measure nothing; results go to a directory of the test."""

    def measure(name: str, options: Options):
        if name == "http_16":
            raise WorkloadFailed("http_16: a message is lost")
        return outcome(name, measured(round(1_000 / options.seconds)))

    monkeypatch.setattr(command, "measure_workload", measure)
    append = command.append_results
    monkeypatch.setattr(
        command, "append_results", lambda outcomes: append(outcomes, tmp_path / "results")
    )
    return tmp_path / "results" / "results.jsonl"


def test_named_workloads_are_measured_and_kept(results, capsys):
    assert command.main(["sync_1,sync_16", "--seconds", "0.5"]) == 0
    assert len(results.read_text().splitlines()) == 2
    assert "2,000" in capsys.readouterr().out


def test_a_failed_workload_fails_the_command_and_not_the_others(results, capsys):
    assert command.main(["http_16,sync_1"]) == 1
    captured = capsys.readouterr()
    assert "a message is lost" in captured.err
    assert "sync_1" in captured.out


def test_a_wrong_name_is_an_error_of_usage(results, capsys):
    assert command.main(["sinc_1"]) == 2
    assert "there is no workload 'sinc_1'" in capsys.readouterr().err


def test_the_list_names_everything(capsys):
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(STANDARD)


def test_the_drawing_is_made(results, tmp_path, monkeypatch):
    monkeypatch.setattr(
        command, "measure_workload", lambda name, options: outcome(name, measured(1_000))
    )
    assert command.main(["plot", "--output", str(tmp_path / "made.svg")]) == 0
    assert (tmp_path / "made.svg").exists()
