from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from myqueue import cli
from myqueue.cli import main
from tests.myqueue.http_twin import HttpCluster


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_topics_come_and_go(
    http_cluster: HttpCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYQUEUE_ADDRESS", http_cluster.address)
    assert run(capsys, "create", "logs", "--partitions", "2") == (0, "", "")
    assert run(capsys, "topics") == (0, "logs\n", "")
    status, out, _ = run(capsys, "describe", "logs")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0][0] == "PARTITION"
    assert [row[1] for row in rows[1:]] == http_cluster.twin.brokers[:2]
    status, out, _ = run(capsys, "describe", "logs", "--json")
    assert len(json.loads(out)["partitions"]) == 2
    status, out, _ = run(capsys, "brokers")
    assert out.splitlines()[0] == f"{http_cluster.twin.brokers[0]}\talive"
    assert run(capsys, "delete", "logs") == (0, "", "")
    assert run(capsys, "topics") == (0, "", "")
    status, out, err = run(capsys, "delete", "logs")
    assert (status, out) == (1, "")
    assert err == "myqueue: TOPIC_NOT_FOUND: topic 'logs' does not exist\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["create"],
        ["create", "logs", "--partitions", "0"],
        ["create", "logs", "--partitions", "x"],
        ["produce", "logs", "--key-regex", "("],
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


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_topics", interrupted)
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
