"""Every example of the README works when it is pasted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.cluster.pages import DEFAULT_ADDRESS, Reader, blocks_of
from tests.cluster.processes import ROOT, Cluster, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.cluster

OPERATIONS = ROOT / "docs/how-to/operations.md"
QUICK_TO_EXPIRE = {
    "QUEUE_BROKER_SIGN_S": "1",
    "QUEUE_BROKER_HEARTBEAT_S": "1",
    "QUEUE_SUSPECT_AFTER_S": "2",
    "QUEUE_DEAD_AFTER_S": "2",
}
"""Two seconds of silence are too long, as an hour is with the usual limits."""


def blocks(language: str) -> list[str]:
    """Return the code blocks of the README in one language, in order."""
    return [block.text for block in blocks_of(ROOT / "README.md") if block.language == language]


def paste(command: str, cluster: Cluster) -> dict[str, Any]:
    """Run one curl line of the README against a cluster; it must succeed."""
    pasted = command.replace(DEFAULT_ADDRESS, cluster.manager).replace("curl", "curl -s")
    done = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (command, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["status"] == "success", (command, answer)
    return answer


def states_of_clients(cluster: Cluster) -> list[str]:
    """Return how the manager thinks of each registered client."""
    producers = cluster.get("/producers")["producers"]
    return [one["state"] for one in [*producers, *cluster.get("/consumers")["consumers"]]]


def test_curl_examples_succeed_one_after_the_other_on_a_new_cluster(tmp_path: Path) -> None:
    with Cluster(tmp_path / "data") as cluster:
        answers = [paste(command, cluster) for command in blocks("bash")]
    assert len(answers) >= 7
    assert "user 17 logged in" in [answer.get("message") for answer in answers]


def test_curl_examples_succeed_however_long_one_reads_between_two(tmp_path: Path) -> None:
    [deletion] = [block for block in blocks_of(OPERATIONS) if "cluster_token" in block.text]
    with Cluster(tmp_path / "data", variables=QUICK_TO_EXPIRE) as cluster:
        for command in blocks("bash"):
            wait_until(
                lambda: set(states_of_clients(cluster)) <= {"expired"}, what="all are expired"
            )
            paste(command, cluster)
        wait_until(lambda: set(states_of_clients(cluster)) <= {"expired"}, what="all are expired")
        assert cluster.get("/consumers", topic="logs")["consumers"]

        operator = Reader(tmp_path / "operator", cluster.manager, ROOT, data=cluster.data_dir)
        printed = operator.run(
            deletion._replace(text=deletion.text.replace("--topic big", "--topic logs"))
        )
        assert "consumer 1 is forgotten" in printed
        left = cluster.get("/consumers", topic="logs")["consumers"]
        assert {one["state"] for one in left} <= {"revoked"}


def test_password_of_the_dashboard_is_set_anew(shared_cluster: Cluster, tmp_path: Path) -> None:
    command = "QUEUE_DATA_DIR=data/manager .venv/bin/python manage.py changepassword admin"
    assert f"\n{command}\n" in (ROOT / "README.md").read_text()
    (tmp_path / "data").symlink_to(shared_cluster.data_dir)
    here = command.replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT / 'manage.py'}")
    done = subprocess.run(
        ["bash", "-c", here],
        input="another one\nanother one\n",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        start_new_session=True,  # without a terminal the password is read from the input
    )
    assert done.returncode == 0, done.stderr
    page = f"{shared_cluster.manager}/admin/login/"
    with requests.Session() as browser:
        browser.get(page, timeout=30)
        form = {"username": "admin", "password": "another one", "next": "/admin/"}
        form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
        answer = browser.post(page, data=form, timeout=30)
    assert answer.url.endswith("/admin/"), answer.text
    assert "Log out" in answer.text


@pytest.mark.parametrize("example", blocks("python"))
def test_python_examples_print_what_they_sent(shared_cluster: Cluster, example: str) -> None:
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
