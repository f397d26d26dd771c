from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.peers.processes import Processes, free_ports, is_listening, read_servers
from benchmarks.peers.session import Place
from benchmarks.peers.system import SystemFailed

HAS_A_CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_servers_and_what_they_started_are_gone_in_the_end(tmp_path):
    with Processes(tmp_path) as processes:
        server = processes.start([sys.executable, "-c", HAS_A_CHILD], address="here")
        processes.wait_for(lambda: processes.printed(0).endswith("\n"), what="the child")
        child = int(processes.printed(0))
        assert read_servers(processes.state_path) == [Place("here", server.pid)]
        assert is_alive(child)
    assert server.returncode is not None
    for _ in range(1_000):
        if not is_alive(child):
            break
        os.sched_yield()
    assert not is_alive(child)


def test_a_server_that_ends_is_told_with_its_output(tmp_path):
    with Processes(tmp_path) as processes:
        processes.start([sys.executable, "-c", "raise SystemExit('no disk')"])
        with pytest.raises(SystemFailed, match=r"not ready: it\nno disk"):
            processes.wait_for(lambda: False, what="it")


def test_a_helper_keeps_no_messages(tmp_path):
    with Processes(tmp_path) as processes:
        processes.start([sys.executable, "-c", "input()"])
        assert not processes.state_path.exists()


def test_free_ports_are_different_and_nobody_listens_there():
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert not any(map(is_listening, ports))


def test_who_listens_is_seen():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert is_listening(server.getsockname()[1])
