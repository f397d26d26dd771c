"""Every example of the README works when it is pasted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cluster.pages import DEFAULT_ADDRESS, blocks_of
from tests.cluster.processes import ROOT

if TYPE_CHECKING:
    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster


def blocks(language: str) -> list[str]:
    """Return the code blocks of the README in one language, in order."""
    return [block.text for block in blocks_of(ROOT / "README.md") if block.language == language]


def test_curl_examples_succeed_one_after_the_other_on_a_new_cluster(cluster: Cluster) -> None:
    answers = []
    for command in blocks("bash"):
        pasted = command.replace(DEFAULT_ADDRESS, cluster.manager).replace("curl", "curl -s")
        done = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        answers.append(json.loads(done.stdout))
    assert len(answers) >= 7
    assert [answer["status"] for answer in answers] == ["success"] * len(answers)
    assert "user 17 logged in" in [answer.get("message") for answer in answers]


def test_python_example_prints_what_it_sent(shared_cluster: Cluster) -> None:
    [example] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example.replace(DEFAULT_ADDRESS, shared_cluster.manager)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "user 17 logged in" in done.stdout


def test_command_line_produces_and_consumes(shared_cluster: Cluster) -> None:
    def run(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "myqueue.cli", *arguments, "--address", shared_cluster.manager],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("create", "lines")
    run("produce", "lines", text="one\ntwo\nthree\n")
    assert sorted(run("consume", "lines", "--from-beginning").splitlines()) == [
        "one",
        "three",
        "two",
    ]
