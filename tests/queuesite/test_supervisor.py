from __future__ import annotations

from pathlib import Path

import pytest

from queuesite.cluster_directory import ClusterDirectory
from queuesite.supervisor import (
    ClusterPlan,
    Supervisor,
    broker_specs,
    manager_spec,
    ready_line,
)

PLAN = ClusterPlan(brokers=3, port=8000, restart_delay_s=0.5)
PLACE = Path("place")


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("READ_ONLY", "1")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///x")
    directory = ClusterDirectory(tmp_path / "data")
    directory.acquire()
    lines: list[str] = []
    made = Supervisor(PLAN, directory, manage_py=Path("manage.py"), say=lines.append)
    made.lines = lines
    made.directory = directory
    yield made
    directory.release()


def test_each_process_gets_its_own_ports_and_directory():
    specs = [manager_spec(PLAN, PLACE), *broker_specs(PLAN, PLACE)]
    assert [spec.name for spec in specs] == ["manager", "broker-1", "broker-2", "broker-3"]
    assert [spec.environ["PORT"] for spec in specs] == ["8000", "8001", "8002", "8003"]
    assert [spec.environ.get("RAFT_PORT") for spec in specs] == [None, "9001", "9002", "9003"]
    assert len({spec.environ["DATA_DIR"] for spec in specs}) == 4
    assert {spec.environ.get("MANAGER_ADDRESS") for spec in specs} == {
        None,
        "http://127.0.0.1:8000",
    }


def test_children_share_a_secret_and_inherit_only_what_is_theirs(supervisor):
    environs = [child.spec.environ for child in supervisor.children]
    assert len({environ["CLUSTER_SECRET"] for environ in environs}) == 1
    assert all("READ_ONLY" not in environ for environ in environs)
    assert all(environ["DATABASE_URL"] == "sqlite:///x" for environ in environs)
    assert supervisor.children[0].spec.arguments[-2:] == ("manage.py", "manager")


def test_ready_is_said_once_when_all_are_ready_and_the_password_with_it(supervisor):
    manager = supervisor.children[0]
    manager.facts = {"username": "admin", "password": "shown once"}
    for child in supervisor.children:
        assert supervisor.lines == []
        child.ready = True
        supervisor._changed()
    supervisor._changed()
    (line,) = supervisor.lines
    assert line == ready_line(manager)
    assert "user admin, password shown once" in line
    assert "http://127.0.0.1:8000/docs" in line


def test_password_is_not_written_into_the_description(supervisor):
    supervisor.children[0].facts = {"username": "admin", "password": "shown once"}
    supervisor._changed()
    assert "shown once" not in supervisor.directory.file.read_text()


def test_description_names_addresses_and_pids(supervisor):
    supervisor.children[1].pid = 77
    supervisor._changed()
    facts = supervisor.directory.read()
    assert facts["port"] == 8000
    assert facts["ready"] is False
    assert facts["manager"]["address"] == "http://127.0.0.1:8000"
    assert facts["brokers"][0]["pid"] == 77
    assert facts["brokers"][0]["raft_address"] == "127.0.0.1:9001"
