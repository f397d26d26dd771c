from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from queuesite.children import Child
from queuesite.cluster_directory import ClusterDirectory
from queuesite.supervisor import (
    ClusterPlan,
    Supervisor,
    broker_specs,
    manager_spec,
    new_password_command,
    ready_line,
)

ROOT = Path(__file__).resolve().parents[2]
PLAN = ClusterPlan(brokers=3, port=8000, restart_delay_s=0.5)
PLACE = Path("place")


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    monkeypatch.setenv("QUEUE_PORT", "1")
    monkeypatch.setenv("QUEUE_READ_ONLY", "1")
    monkeypatch.setenv("QUEUE_DATABASE_URL", "sqlite:///x")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "of the admin")
    monkeypatch.setenv("QUEUE_CELERY_BROKER_URL", "redis://:secret@h/0")
    directory = ClusterDirectory(tmp_path / "data")
    directory.acquire()
    lines: list[str] = []
    made = Supervisor(PLAN, directory, program=Path("manage.py"), say=lines.append)
    made.lines = lines
    made.directory = directory
    yield made
    directory.release()


def test_each_process_gets_its_own_ports_and_directory():
    specs = [manager_spec(PLAN, PLACE), *broker_specs(PLAN, PLACE)]
    assert [spec.name for spec in specs] == ["manager", "broker-1", "broker-2", "broker-3"]
    assert [spec.environ["QUEUE_PORT"] for spec in specs] == ["8000", "8001", "8002", "8003"]
    assert [spec.environ.get("QUEUE_RAFT_PORT") for spec in specs] == [None, "9001", "9002", "9003"]
    assert len({spec.environ["QUEUE_DATA_DIR"] for spec in specs}) == 4
    assert {spec.environ.get("QUEUE_MANAGER_ADDRESS") for spec in specs} == {
        None,
        "http://127.0.0.1:8000",
    }


def test_addresses_begin_with_https_where_there_is_a_certificate():
    plan = ClusterPlan(brokers=1, port=8000, restart_delay_s=None, scheme="https")
    for spec in (manager_spec(plan, PLACE), *broker_specs(plan, PLACE)):
        assert spec.environ["QUEUE_CURRENT_ADDRESS"] == spec.facts["address"]
        assert spec.facts["address"].startswith("https://127.0.0.1:800")
    assert spec.environ["QUEUE_MANAGER_ADDRESS"] == "https://127.0.0.1:8000"


def test_children_share_a_secret_and_inherit_only_what_is_theirs(supervisor):
    environs = [child.spec.environ for child in supervisor.children]
    assert len({environ["QUEUE_CLUSTER_SECRET"] for environ in environs}) == 1
    assert all("QUEUE_READ_ONLY" not in environ for environ in environs)
    assert [environ.get("QUEUE_DATABASE_URL") for environ in environs] == [
        "sqlite:///x",
        None,
        None,
        None,
    ]
    secrets = {"DJANGO_SUPERUSER_PASSWORD", "QUEUE_CELERY_BROKER_URL"}
    assert [secrets & set(environ) for environ in environs] == [secrets, set(), set(), set()]
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
    assert line == ready_line(manager, Path("manage.py"))
    assert "user admin, password shown once" in line
    assert "http://127.0.0.1:8000/docs" in line


def test_later_start_says_how_to_set_another_password(supervisor):
    manager = supervisor.children[0]
    line = ready_line(manager, Path("manage.py"))
    assert f"QUEUE_DATA_DIR={manager.spec.facts['data_dir']} " in line
    command = new_password_command(Path("/somewhere/manage.py"))
    assert command in (ROOT / "README.md").read_text()
    assert line.endswith(f"{command})")
    assert new_password_command(Path("bin/queuesite")) == "queuesite changepassword admin"


def test_password_is_not_written_into_the_description(supervisor):
    supervisor.children[0].facts = {"username": "admin", "password": "shown once"}
    supervisor._changed()
    assert "shown once" not in supervisor.directory.file.read_text()


def test_description_that_cannot_be_written_is_said_once_and_written_at_the_next_change(
    supervisor, monkeypatch
):
    supervisor._changed()
    write = ClusterDirectory.write

    def refuse(number):
        def raising(directory, facts):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(ClusterDirectory, "write", raising)

    def change(pid):
        supervisor.children[1].pid = pid
        supervisor._changed()

    for number in (errno.ENOSPC, errno.EROFS):
        refuse(number)
        change(77)
        change(78)
    assert [line.rpartition(" cannot be written: ")[2] for line in supervisor.lines] == [
        "No space left on device",
        "Read-only file system",
    ]
    assert supervisor.directory.read()["brokers"][0]["pid"] == 0
    monkeypatch.setattr(ClusterDirectory, "write", write)
    change(79)
    assert supervisor.directory.read()["brokers"][0]["pid"] == 79
    refuse(errno.EROFS)
    change(80)
    assert len(supervisor.lines) == 3


async def test_supervisor_ends_loudly_when_a_child_is_watched_no_more(supervisor, monkeypatch):
    async def broken(child):
        if child is supervisor.children[2]:
            raise RuntimeError("a bug of the watch")
        await child._stopping.wait()

    monkeypatch.setattr(Child, "run", broken)
    with pytest.raises(RuntimeError, match="a bug of the watch"):
        await asyncio.wait_for(supervisor.run(), 20)
    assert supervisor.lines[-2:] == ["stopping", "stopped"]


async def test_supervisor_stays_while_children_stay_down(supervisor, monkeypatch):
    async def stays_down(child):
        return

    monkeypatch.setattr(Child, "run", stays_down)
    running = asyncio.ensure_future(supervisor.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not running.done()
    supervisor.children[0].refused.set()
    assert await asyncio.wait_for(running, 20) == 2


def test_description_names_addresses_and_pids(supervisor):
    supervisor.children[1].pid = 77
    supervisor._changed()
    facts = supervisor.directory.read()
    assert facts["port"] == 8000
    assert facts["ready"] is False
    assert facts["manager"]["address"] == "http://127.0.0.1:8000"
    assert facts["brokers"][0]["pid"] == 77
    assert facts["brokers"][0]["raft_address"] == "127.0.0.1:9001"
