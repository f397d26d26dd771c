"""Data folders as earlier versions wrote them, under today's cluster: nothing is missing."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from myqueue import Client, ClientConfig, Consumer, Producer, Worker
from raft_app.storage.protocol import FORMAT_VERSION
from raft_app.storage.sqlite.manifest import ManifestFile
from tests.cluster.processes import Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster

OLD = sorted((Path(__file__).parent / "old_data").glob("*.tar.xz"))
"""Written by `python -m tools.old_data`, with what was in them."""
NEVER_FORGOTTEN = {"QUEUE_FORGET_AFTER_S": "2000000000"}
"""Who read in them was heard of long ago when this runs."""
PATIENT = ClientConfig(request_timeout_ms=60_000, manager_timeout_ms=60_000)
"""A busy machine answers late, which is not what this is about."""
JOBS = {f"job {number}" for number in range(20)}


@dataclass
class Upgraded:
    """Today's cluster on the data of an earlier version, and what that version said of them."""

    cluster: Cluster
    facts: dict[str, Any]
    format_before: int


def format_of(directory: Path) -> int:
    """Return the format version of a broker's folder."""
    manifest = ManifestFile(directory).read()
    assert manifest is not None
    return manifest.identity.format_version


@pytest.fixture(scope="module", params=OLD, ids=[one.name[:-7] for one in OLD])
def upgraded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgraded]:
    """Unpack the data and start a cluster on them."""
    directory = tmp_path_factory.mktemp("upgraded")
    with tarfile.open(request.param) as packed:
        packed.extractall(directory / "data", filter="data")
    facts = json.loads((directory / "data/facts.json").read_text())
    (directory / "data/facts.json").unlink()
    before = format_of(directory / "data/broker-1")
    with Cluster(directory / "data", variables=NEVER_FORGOTTEN) as cluster:
        yield Upgraded(cluster, facts, before)


def rows_of(address: str, topic: str, partition: int) -> list[list[Any]]:
    """Return all messages of a partition as the facts have them."""

    def hexed(value: str | bytes | None) -> str | None:
        return (
            None if value is None else (value if isinstance(value, bytes) else value.encode()).hex()
        )

    rows: list[list[Any]] = []
    with Consumer(topic, address, config=PATIENT) as reader:
        while found := reader.fetch(topic, partition, len(rows)).messages:
            rows += [
                [
                    one.offset,
                    hexed(one.key),
                    [[name, hexed(value)] for name, value in (one.headers or {}).items()],
                    hexed(one.value),
                ]
                for one in found
            ]
        reader.forget()
    return rows


def test_every_message_setting_and_reader_is_there_and_writing_goes_on(upgraded: Upgraded) -> None:
    address, facts = upgraded.cluster.manager, upgraded.facts
    assert (upgraded.format_before, FORMAT_VERSION) == (1 if not facts["group"] else 2, 2)
    with Client(address, config=PATIENT) as client:
        assert {*facts["topics"]} == {*client.list_topics()}
        ends = {}
        for topic, was in facts["topics"].items():
            described = client.describe_topic(topic)
            assert described["settings"] == was["described"]["settings"]
            for number, rows in was["messages"].items():
                if topic != "jobs.dead":
                    assert rows_of(address, topic, int(number)) == rows, f"{topic}[{number}]"
                ends[topic, int(number)] = len(rows)
        consumer = facts["consumer"]
        sizes = client.consumer_sizes("logs", consumer["id"])
        assert sizes == {int(one): left for one, left in consumer["left"].items()}
        known = {one["producer_id"] for one in client.list_clients("producers", "logs")}
        assert facts["producer"] in known
        if facts["group"]:
            check_group(client, facts["group"])
            check_jobs(address, facts)
        write_on(address, ends)
    for number in (1, 2, 3):
        directory = upgraded.cluster.data_dir / f"broker-{number}"
        assert format_of(directory) == FORMAT_VERSION
    assert all(not replica["faulty"] for replica in replicas(upgraded.cluster))


def replicas(cluster: Cluster) -> list[dict[str, Any]]:
    """Return what all brokers say of their replicas."""
    found = [cluster.get("/partitions", address=one) for one in cluster.broker_addresses()]
    return [replica for one in found for replica in one["partitions"]]


def check_group(client: Client, was: dict[str, Any]) -> None:
    """See that a group is where it was."""

    def places(described: dict[str, Any]) -> set[tuple[str, int, int]]:
        rows = described["partitions"]
        return {(one["topic"], one["partition"], one["offset"]) for one in rows}

    now = client.describe_group("readers")
    assert places(now) == places(was)
    assert now["generation"] >= was["generation"]


def check_jobs(address: str, facts: dict[str, Any]) -> None:
    """See that each job comes but those that were acknowledged, of which none does."""
    done, dead = set(facts["jobs"]["acknowledged"]), set(facts["jobs"]["dead"])
    received: set[str] = set()

    def all_came() -> bool:
        deliveries = worker.receive(10, timeout=1)
        worker.ack(deliveries)
        received.update(one.text for one in deliveries)
        letters = {bytes.fromhex(row[3]).decode() for row in rows_of(address, "jobs.dead", 0)}
        assert dead <= letters
        return received | letters == JOBS - done

    with Worker("jobs", address, group="workers", delivery_limit=1, config=PATIENT) as worker:
        wait_until(all_came, what="every job that was not acknowledged", seconds=60)
    assert not received & (done | dead)


def write_on(address: str, ends: dict[tuple[str, int], int]) -> None:
    """See that new messages come after the old ones, and are read."""
    with (
        Producer("logs", address, config=PATIENT) as producer,
        Consumer("logs", address, group="new", config=PATIENT) as member,
    ):
        for number in range(3):
            where = producer.send("logs", f"after {number}", partition=number).result(30)
            assert where.offset == ends["logs", number]
        seen: set[str] = set()

        def all_read() -> bool:
            seen.update(message.text for message in member.poll(500, timeout=1))
            return {f"after {number}" for number in range(3)} <= seen

        wait_until(all_read, what="a new group reads old and new messages")
        old = sum(end for (topic, _), end in ends.items() if topic == "logs")
        assert len(seen) == old + 3
