from __future__ import annotations

import pytest

from benchmarks import __main__ as command
from benchmarks.harness import Options, WorkloadFailed
from benchmarks.measurement import Figure
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


@pytest.fixture
def side_by_side(results, tmp_path, monkeypatch):
    """Every peer is installed; what takes part is in the figures."""
    monkeypatch.setattr(command, "peers_of", lambda text: text.split(",") if text else [])
    monkeypatch.setattr(command, "SIDE_BY_SIDE", tmp_path / "made" / "side_by_side.md")

    def measure(name: str, peers: list, options: Options, tell):
        found = measured(1_000)
        found.others.update(dict.fromkeys((Figure.PROCESSOR_PERCENT, Figure.RESIDENT_MB), 1.0))
        systems = ["queuesite", *(peer.name for peer in peers)]
        return [outcome(name, found, system=system) for system in systems]

    monkeypatch.setattr(command, "measure_side_by_side", measure)
    return tmp_path / "made" / "side_by_side.md"


def test_peers_are_measured_with_the_floor_of_python_and_kept(side_by_side, results, capsys):
    assert command.main(["sync_1,end_to_end,pop_manager", "--peers", "nats,redis"]) == 0
    text = side_by_side.read_text()
    assert text in capsys.readouterr().out
    systems = [line.split("|")[3].strip() for line in text.splitlines() if line.startswith("|")]
    floors = ["python_floor", "python_floor_growing"]
    assert systems[2:8] == ["queuesite", "nats", "redis", *floors, "bare disk"]
    assert systems[20:24] == ["queuesite", "nats", "redis", "bare disk"]
    assert systems[-6:] == ["queuesite", "bare disk"] * 3
    assert len(results.read_text().splitlines()) == 5 + 3 + 1


def test_with_peers_the_standard_is_what_they_can_do(side_by_side, capsys):
    assert command.main(["--peers", "nats"]) == 0
    assert "pop_manager" not in capsys.readouterr().out


def test_the_drawing_has_all_systems(side_by_side, tmp_path):
    path = tmp_path / "made.svg"
    assert command.main(["plot", "--peers", "nats", "--output", str(path)]) == 0
    drawing = path.read_text()
    assert "nats p99" in drawing
    assert "python_floor p50" in drawing


@pytest.mark.parametrize("error", [command.UnknownPeer, command.PeerMissing])
def test_a_peer_that_cannot_be_had_is_an_error_of_usage(error, results, capsys, monkeypatch):
    def refuse(text: str):
        raise error(f"{text}: get it so")

    monkeypatch.setattr(command, "peers_of", refuse)
    assert command.main(["sync_1", "--peers", "kafka"]) == 2
    assert capsys.readouterr().err == "kafka: get it so\n"
    assert not results.exists()
