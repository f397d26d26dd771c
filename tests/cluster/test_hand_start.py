"""Managers and brokers that a person starts one by one, in terminals of the same folder."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from queuesite.ports import is_free
from tests.cluster.processes import wait_until
from tests.cluster.terminals import BROKERS, Terminals, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster

WRONG_SECRET = "the secret of some other cluster"


@pytest.fixture(scope="module")
def terminals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminals]:
    """Return a manager and brokers, started at once with nothing but their ports."""
    terminals = Terminals(tmp_path_factory.mktemp("folder"))
    (terminals.folder / "data").mkdir(mode=0o755)
    (terminals.folder / "data" / "manager").mkdir(mode=0o755)
    try:
        ports = range(terminals.base + 1, terminals.base + 1 + BROKERS)
        numbers = [
            terminals.start("manager", QUEUE_PORT=str(terminals.base)),
            *(terminals.start("broker", QUEUE_PORT=str(port)) for port in ports),
        ]
        for number in numbers:
            terminals.wait_ready(number)
        yield terminals
    finally:
        terminals.stop()


def call(address: str, path: str, **fields: object) -> dict[str, object]:
    answer = requests.post(f"{address}{path}", json=fields, timeout=40)
    body: dict[str, object] = answer.json()
    assert body["status"] == "success", body
    return body


def test_processes_started_at_once_share_a_secret_and_a_folder_each(terminals: Terminals) -> None:
    data = terminals.folder / "data"
    ports = range(terminals.base + 1, terminals.base + 1 + BROKERS)
    expected = {"cluster.secret", "manager", *(f"broker-{port}" for port in ports)}
    assert expected <= {path.name for path in data.iterdir()}
    assert len(list(data.rglob("*.secret*"))) == 1


def test_read_only_manager_in_the_same_folder_reads_what_was_produced(terminals: Terminals) -> None:
    manager = terminals.manager
    call(manager, "/topics", topic="logs", number_of_partitions=3)
    producer_id = call(manager, "/producer/register", topic="logs")["producer_id"]
    consumer_id = call(manager, "/consumer/register", topic="logs")["consumer_id"]
    call(manager, "/producer/produce", topic="logs", producer_id=producer_id, message="one")
    port = free_port()
    terminals.wait_ready(terminals.start("manager", "-r", QUEUE_PORT=port))
    answer = requests.get(
        f"http://127.0.0.1:{port}/consumer/consume",
        params={"topic": "logs", "consumer_id": str(consumer_id)},
        timeout=40,
    )
    assert answer.json()["message"] == "one"


def test_nothing_below_the_data_folder_is_open_to_others(terminals: Terminals) -> None:
    call(terminals.manager, "/topics", topic="private", number_of_partitions=1)
    producer_id = call(terminals.manager, "/producer/register", topic="private")["producer_id"]
    for number in range(20):
        call(
            terminals.manager,
            "/producer/produce",
            topic="private",
            producer_id=producer_id,
            message=f"message {number}",
        )
    assert terminals.open_to_others() == []


def test_second_broker_on_a_port_or_in_a_folder_is_refused(terminals: Terminals) -> None:
    port = str(terminals.base + 1)
    assert f"cannot listen on 127.0.0.1:{port}" in terminals.refused("broker", QUEUE_PORT=port)
    line = terminals.refused("broker", QUEUE_PORT=free_port(), QUEUE_DATA_DIR=f"data/broker-{port}")
    assert "in use by process" in line


def test_broker_with_another_secret_never_joins(terminals: Terminals) -> None:
    port = free_port()
    line = terminals.refused("broker", QUEUE_PORT=port, QUEUE_CLUSTER_SECRET=WRONG_SECRET)
    assert "QUEUE_CLUSTER_SECRET" in line
    assert terminals.manager in line


@pytest.mark.parametrize("option", [("-r",), ()])
def test_manager_with_another_secret_is_refused(terminals: Terminals, option: tuple[str]) -> None:
    url = "" if option else f"sqlite:///{terminals.folder}/copy.sqlite3"
    if url:
        database = terminals.folder / "data" / "manager" / "manager.sqlite3"
        script = f"VACUUM INTO '{terminals.folder}/copy.sqlite3'"
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sqlite3; sqlite3.connect({str(database)!r}).execute({script!r})",
            ],
            check=True,
        )
    line = terminals.refused(
        *("manager", *option),
        QUEUE_PORT=free_port(),
        QUEUE_CLUSTER_SECRET=WRONG_SECRET,
        QUEUE_DATABASE_URL=url,
    )
    assert "QUEUE_CLUSTER_SECRET" in line


@pytest.mark.parametrize("way", ["folder", "url", "link", "other name"])
def test_second_manager_that_writes_to_an_sqlite_file_is_refused(
    terminals: Terminals, way: str
) -> None:
    file = Path("data/manager/manager.sqlite3")
    link = terminals.folder / "link.sqlite3"
    if way == "link":
        link.symlink_to(terminals.folder / file)
    if way == "other name":
        (terminals.folder / "other").symlink_to(terminals.folder / "data")
    url = {
        "folder": "",
        "url": f"sqlite:///{file}",
        "link": f"sqlite:///{link}",
        "other name": "sqlite:///other/manager/manager.sqlite3",
    }[way]
    assert "in use by" in terminals.refused(
        "manager", QUEUE_PORT=free_port(), QUEUE_DATABASE_URL=url
    )


@dataclass
class Left:
    """What a cluster, and after it parts started by hand, left in a folder."""

    terminals: Terminals
    """Of the parts; nothing of them runs any more."""
    open_to_others: list[str]
    """While the cluster ran."""
    said_by_broker: str
    """By the one that was started by hand."""
    folders: list[str]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("left")
    (folder / "data").mkdir(mode=0o755)
    cluster, parts = Terminals(folder), Terminals(folder)
    base = parts.base = cluster.base
    try:
        cluster.wait_ready(cluster.start("cluster", "--brokers", "1", "--port", str(base)))
        cluster.wait_ready(cluster.start("manager", "-r", QUEUE_PORT=free_port()))
        open_to_others = cluster.open_to_others()
    finally:
        cluster.stop()
    try:
        manager = parts.start("manager", QUEUE_PORT=str(base))
        broker = parts.start("broker", QUEUE_PORT=str(base + 1))
        parts.wait_ready(manager)
        parts.wait_ready(broker)
    finally:
        parts.stop()
    wait_until(lambda: is_free(base), what="the manager's port is free")
    folders = sorted(path.name for path in (folder / "data").iterdir() if path.is_dir())
    return Left(parts, open_to_others, parts.log(broker), folders)


def test_parts_started_by_hand_find_what_a_cluster_left_and_beside_it_its_secret(
    left: Left,
) -> None:
    assert left.open_to_others == []
    assert "broker 1 ready on" in left.said_by_broker
    assert left.folders == ["broker-1", "logs", "manager"]


def test_broker_that_joined_does_not_start_with_another_secret(left: Left) -> None:
    """Nobody is there to tell it: neither manager nor peer runs."""
    for part, port in (("broker", left.terminals.base + 1), ("manager", left.terminals.base)):
        line = left.terminals.refused(part, QUEUE_PORT=str(port), QUEUE_CLUSTER_SECRET=WRONG_SECRET)
        assert "QUEUE_CLUSTER_SECRET" in line
