"""`manage.py demo` on a cluster that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from myqueue import Client
from tests.cluster.processes import ROOT, popen, wait_until

if TYPE_CHECKING:
    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster


def run(address: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "demo", "--manager", address, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "QUEUE_ROLE"}
    return popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_newcomer_sees_traffic_and_trouble_and_takes_it_away_again(
    shared_cluster: Cluster,
) -> None:
    address = shared_cluster.manager
    with Client(address) as client:
        before = set(client.list_topics())
        process = run(address, "--rate", "100")

        def has_trouble() -> bool:
            groups = {one["group"]: one for one in client.describe_groups()}
            dead = "demo.emails.dead" in client.list_topics()
            return dead and (groups.get("demo.reports", {}).get("lag") or 0) > 0

        wait_until(has_trouble, what="dead letters, and a group that falls behind", seconds=60)
        process.terminate()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert " published, " in said.splitlines()[-1]
        removed, _ = run(address, "--remove").communicate(timeout=60)
        assert removed == "7 topics and groups removed\n"
        assert set(client.list_topics()) == before
        assert not [group for group in client.list_groups() if group.startswith("demo.")]
