from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from myqueue import Consumer, Producer, __version__
from myqueue.cli import topics
from myqueue.cli.main import all_commands, main
from myqueue.testing.queue import InMemoryQueue
from tests.myqueue.http_twin import HttpCluster


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["create"],
        ["create", "logs", "--partitions", "0"],
        ["create", "logs", "--partitions", "x"],
        ["produce", "logs", "--key-regex", "("],
        ["produce", "logs", "--key", "a", "--key-regex", "b"],
        ["perf", "produce", "logs", "--mess", "5"],
        ["consume", "logs", "--from-begin"],
        ["lag"],
        ["groups", "--delete"],
        ["groups", "reset", "g"],
        ["topics", "lists"],
        ["perf"],
        ["perf", "--json"],
        ["create", "logs", "--retention", "7"],
        ["create", "logs", "--retention-bytes", "10gig"],
        ["topics", "--address", "8000"],
    ],
)
def test_wrong_arguments_are_status_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: myqueue" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "myqueue consume logs --from-beginning --json" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"myqueue {__version__}\n"


TREE = all_commands()


def examples_of(text: str) -> list[list[str]]:
    """Return the arguments of each call of the command in a help text."""
    lines = text.split("examples:\n", 1)[1].splitlines()
    calls = [line.rpartition("myqueue ")[2] for line in lines if line.startswith("  ")]
    return [shlex.split(call) for call in calls]


@pytest.mark.parametrize("command", ["", *TREE.all])
def test_every_help_has_examples_that_can_be_typed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    examples = examples_of(capsys.readouterr().out)
    assert examples
    for arguments in examples:
        run = TREE.read(arguments).run
        assert callable(run)
        assert not command or run is TREE.all[command].parser.get_default("run")


def test_an_address_without_a_manager_is_refused_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYQUEUE_ADDRESS", "8000")
    with pytest.raises(SystemExit):
        main(["topics"])
    assert "'8000' is no address like http://127.0.0.1:8000" in capsys.readouterr().err


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(topics, "connect", interrupted)
    assert main(["topics"]) == 130


def test_a_file_that_is_missing_is_status_one(
    http_cluster: HttpCluster, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    status, _, err = run(capsys, "produce", "logs", missing, "--address", http_cluster.address)
    assert status == 1
    assert "missing" in err


def test_a_reader_that_goes_away_is_no_traceback(http_cluster: HttpCluster) -> None:
    for number in range(2_000):
        http_cluster.twin.create(f"topic-{number}-{'x' * 100}", 1)
    command = [sys.executable, "-m", "myqueue.cli", "topics", "--address", http_cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


JSON_COMMANDS = [
    ["consume", "logs", "-n", "1", "--from-beginning"],
    ["tail", "logs", "-n", "1"],
    ["topics"],
    ["create", "made"],
    ["describe", "logs"],
    ["brokers"],
    ["groups"],
    ["groups", "g"],
    ["groups", "reset", "g", "logs", "--to", "earliest", "--dry-run"],
    ["lag", "logs"],
    ["status"],
    ["produce", "logs"],
    ["perf", "produce", "logs", "-n", "10"],
    ["perf", "consume", "logs", "-n", "1"],
    ["redrive", "logs"],
    ["groups", "delete", "g", "--yes"],
    ["delete", "logs", "--yes"],
]


def test_json_has_the_keys_that_the_reference_names(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(b""), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    with InMemoryQueue({"logs": 1}) as queue, Consumer("logs", queue.address):
        with (
            Producer("logs", queue.address) as producer,
            Consumer("logs", queue.address, group="g") as member,
        ):
            producer.enqueue("logs", "a", key="k", headers={"h": "1"})
            member.poll(1, timeout=10)
            member.commit()
        for arguments in JSON_COMMANDS:
            assert main([*arguments, "--json", "--address", queue.address]) == 0, arguments
            first = json.loads(capfd.readouterr().out.splitlines()[0])
            words = TREE._spelt_out(arguments)
            path = max((one for one in TREE.all if " ".join(words).startswith(one)), key=len)
            assert tuple(first) == TREE.all[path].keys, path
