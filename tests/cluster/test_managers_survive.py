"""Managers and their PostgreSQL are killed, stopped and woken under changes and messages.

Nobody restarts what was not killed, every acknowledged change is there, and messages go on.
"""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import ClientConfig, Consumer, Producer
from tests.cluster.metadata_work import TOPIC, Answer, MetadataWork, ask
from tests.cluster.processes import wait_until
from tests.cluster.rounds import MANY, ROUNDS
from tests.cluster.several_managers import SeveralManagers, is_ready
from tests.cluster.steady_traffic import SteadyTraffic
from tests.manager_app.postgres import required_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.postgres,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(ROUNDS == 1, reason="takes minutes: CLUSTER_ROUNDS, in small with 2"),
]

KILLS = ROUNDS if MANY else 1
STOPS = ROUNDS // 2 if MANY else 1
SOME_TIME_SECONDS = 60.0
"""For what is no promise, on a busy machine."""
ACCEPTED_SECONDS = 10.0
"""After which changes are accepted again, whatever became of the primary or the database."""
STOPPED_SECONDS = 15.0 if MANY else 0.0
"""How long the primary stands still, at least: until another took over in any case."""
FROZEN_SECONDS = 60.0 if MANY else 7.0
"""How long the database stands still: by default until every manager knows it."""
KILLED_SECONDS = 20.0 if MANY else 3.0
BACKUP_AGE_SECONDS = 300.0 if MANY else 2.0
READS = ("/topics", f"/topics/{TOPIC}", "/brokers", "/brokers?detail=1")
AWAY = {"DATABASE_UNAVAILABLE", "PRIMARY_UNAVAILABLE"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeveralManagers]:
    with required_server() as server:
        server.stop()
        server.keep_commits()
        server.start()
        with SeveralManagers(tmp_path_factory.mktemp("managers"), server) as cluster:
            change(cluster, "POST", "/topics", {"topic": TOPIC, "number_of_partitions": 2})
            cluster.watch_writes()
            yield cluster


def lose_primary(
    cluster: SeveralManagers, work: MetadataWork, traffic: SteadyTraffic, *, stops: bool
) -> tuple[float, float]:
    """Kill or stop the primary; see another take over, and the first come back as a standby.

    Returns:
        The seconds until a change was accepted again, as they were, and without those in which the
        processes waited for a processor.
    """
    work.accepted_again(cluster.managers, seconds=SOME_TIME_SECONDS)
    traffic.wait_for_all()
    primary = cluster.primary()
    assert primary is not None
    others = cluster.others(primary)
    begun_s = time.monotonic()
    primary.signal(signal.SIGSTOP) if stops else primary.kill()

    def is_taken() -> bool:
        return cluster.primary() not in (None, primary)

    wait_until(is_taken, what="another manager is the primary", seconds=SOME_TIME_SECONDS)
    accepted_s = work.accepted_again(others, seconds=SOME_TIME_SECONDS)
    if stops:
        time.sleep(max(0.0, begun_s + STOPPED_SECONDS - time.monotonic()))
    traffic.require_no_gap(begun_s, through=[one.address for one in others])
    if stops:
        primary.signal(signal.SIGCONT)
    else:
        primary.start()
    wait_until(lambda: is_ready(primary.address), what="the first manager is ready again")
    assert cluster.primary() is not primary, "a healthy primary keeps its lease"
    return accepted_s - begun_s, traffic.own_seconds(begun_s, accepted_s)


def test_every_acknowledged_change_outlives_the_primaries(
    cluster: SeveralManagers, say: Callable[[str], None]
) -> None:
    found: dict[bool, list[tuple[float, float]]] = defaultdict(list)
    name = "primaries"
    with SteadyTraffic(cluster, name) as traffic, MetadataWork(cluster, name) as work:
        for number in range(KILLS + STOPS):
            stops = number % 3 == 2 if MANY else number == KILLS
            if number == 1 and MANY:
                added = cluster.add_broker()
            found[stops].append(lose_primary(cluster, work, traffic, stops=stops))
        if MANY:
            wait_until(lambda: is_ready(added.address), what="the broker joined")
    work.check()
    messages = traffic.check()
    assert cluster.foreign_writes() == []
    assert "outside of a fence" not in cluster.manager_logs()
    for stops, seconds in found.items():
        say(
            f"{len(seconds)} primaries {'stopped' if stops else 'killed'}: changes accepted again"
            f" after {min(seconds)[0]:.1f} to {max(seconds)[0]:.1f} s"
        )
    say(
        f"  {work.count} changes acknowledged, {dict(work.refusals)} not; {messages} messages, the"
        f" longest gap {traffic.longest_s:.2f} s"
    )
    assert max(own_s for of in found.values() for _, own_s in of) < ACCEPTED_SECONDS


def look(cluster: SeveralManagers, traffic: SteadyTraffic, *, away: bool) -> None:
    """See that each manager answers reads from memory, and says of writes that nothing was stored.

    Args:
        cluster: whose.
        traffic: counts how long processes wait for a processor.
        away: the database has been away for long enough that each manager knows it.
    """
    for manager in cluster.managers:
        for path in READS:
            begun_s = time.monotonic()
            answer = ask(manager.address, "GET", path)
            assert answer.status == 200, (path, answer)
            assert not away or traffic.own_seconds(begun_s, time.monotonic()) < 2, path
        answer = ask(manager.address, "POST", "/topics", {"topic": "refused"})
        assert (answer.status, answer.happened) == (503, False), answer
        assert answer.fields["code"] in AWAY, answer
        assert answer.fields["retry_after_ms"] > 0, answer


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_managers_and_messages_go_on_without_their_database(
    cluster: SeveralManagers, say: Callable[[str], None], how: str
) -> None:
    server, pids = cluster.server, cluster.pids
    if how == "killed":
        lose, bring_back, seconds = server.kill, server.start, KILLED_SECONDS
    else:
        lose, bring_back, seconds = server.freeze, server.thaw, FROZEN_SECONDS
    with SteadyTraffic(cluster, how) as traffic, MetadataWork(cluster, how) as work:
        work.accepted_again(cluster.managers, seconds=SOME_TIME_SECONDS)
        traffic.wait_for_all()
        begun_s = time.monotonic()
        lose()
        look(cluster, traffic, away=False)
        time.sleep(max(0.0, begun_s + seconds - time.monotonic()))
        look(cluster, traffic, away=True)
        bring_back()
        back_s = time.monotonic()
        accepted_s = work.accepted_again(cluster.managers, seconds=SOME_TIME_SECONDS)
        traffic.require_no_gap(begun_s, through=[one.address for one in cluster.managers])
        for one in cluster.managers:
            wait_until(lambda of=one: is_ready(of.address), what=f"{one.address} is ready")
    work.check()
    messages = traffic.check()
    assert cluster.foreign_writes() == []
    assert ask(cluster.managers[0].address, "GET", "/topics/refused").status == 404
    assert cluster.pids == pids, "nothing was restarted"
    say(
        f"PostgreSQL {how} for {seconds:.0f} s: changes accepted {accepted_s - back_s:.1f} s after;"
        f" {messages} messages, the longest gap {traffic.longest_s:.2f} s; of"
        f" {work.count} changes refused {dict(work.refusals)}"
    )
    assert traffic.own_seconds(back_s, accepted_s) < ACCEPTED_SECONDS


IDS = {
    "topic": "id",
    "partition": "group_id",
    "replica": "replica_id",
    "producer": "id",
    "consumer": "id",
    "broker": "broker_id",
}


def ids_in(cluster: SeveralManagers, database: str = "postgres") -> dict[str, set[int]]:
    """Return the ids of each table that gives them out."""
    found = {}
    for table, column in IDS.items():
        rows = cluster.stored(f"SELECT {column} FROM manager_app_{table}", database)  # noqa: S608
        found[table] = {one for (one,) in rows}
    return found


def counters_in(cluster: SeveralManagers, database: str = "postgres") -> tuple[int, int]:
    """Return the version of the metadata and the epoch of the lease."""
    statement = "SELECT metadata_version, epoch FROM manager_app_cluster"
    [(version, epoch)] = cluster.stored(statement, database)
    return int(version), int(epoch)


def change(cluster: SeveralManagers, method: str, path: str, fields: object = None) -> Answer:
    """Make a change through some manager, which must be accepted."""
    address = cluster.managers[1].address
    answer = ask(address, method, path, fields, seconds=SOME_TIME_SECONDS)
    assert answer.happened, (method, path, answer)
    return answer


def produce_one(cluster: SeveralManagers, topic: str, text: str, partition: int = 0) -> None:
    with Producer(topic, cluster.address) as producer:
        producer.enqueue(topic, text, partition=partition)


def read_all(cluster: SeveralManagers, topic: str) -> list[str]:
    with Consumer(topic, cluster.address) as consumer:
        found: list[str] = []
        while messages := consumer.poll(timeout=0):
            found += [str(message.value) for message in messages]
    return found


def after_the_backup(cluster: SeveralManagers) -> int:
    """Change what a restored database will know nothing of; return a group's generation."""
    change(cluster, "POST", "/topics", {"topic": "later", "number_of_partitions": 1})
    produce_one(cluster, "later", "in a topic made after the backup")
    change(cluster, "DELETE", "/topics/gone")
    change(cluster, "PATCH", "/topics/grown", {"number_of_partitions": 2})
    produce_one(cluster, "grown", "in a partition made after the backup", partition=1)
    for _ in range(3):
        joined = change(cluster, "POST", "/groups/restored/join", {"topics": ["grown"]})
        change(
            cluster,
            "POST",
            "/groups/restored/leave",
            {"member_id": joined.fields["member_id"]},
        )
    generation: int = joined.fields["generation"]
    return generation


def check_topics(cluster: SeveralManagers) -> None:
    """See what became of topics that were made, deleted and grown after the backup."""
    address = cluster.managers[0].address
    assert ask(address, "GET", "/topics/later").status == 404
    held = requests.get(f"{cluster.brokers[0].address}/partitions?topic=later", timeout=10).json()
    assert len(held["partitions"]) == 1, "brokers keep the messages"
    change(cluster, "POST", "/topics", {"topic": "later", "number_of_partitions": 1})
    produce_one(cluster, "later", "in a topic of the same name")
    assert read_all(cluster, "later") == ["in a topic of the same name"]

    def is_without_replicas() -> bool:
        [partition] = ask(address, "GET", "/topics/gone").fields["partitions"]
        return bool(partition["condition"] == "no healthy replica")

    wait_until(is_without_replicas, what="the deleted topic is shown as lost", seconds=60)
    change(cluster, "DELETE", "/topics/gone")
    assert ask(address, "GET", "/topics/gone").status == 404
    assert read_all(cluster, "grown") == ["before the backup"]
    change(cluster, "PATCH", "/topics/grown", {"number_of_partitions": 2})
    produce_one(cluster, "grown", "after it", partition=1)
    assert sorted(read_all(cluster, "grown")) == ["after it", "before the backup"]


def check_numbers(cluster: SeveralManagers, dumped: dict[str, set[int]], *, returned: int) -> None:
    """See that no number that was given out after the backup was given out again.

    Args:
        cluster: whose database was restored.
        dumped: the ids in the backup.
        returned: id of the consumer that the restored database lacked, and that has come back.
    """
    before, after = ids_in(cluster, "before"), ids_in(cluster)
    assert after["consumer"] & before["consumer"] - dumped["consumer"] == {returned}
    for table, ids in after.items():
        new = ids - dumped[table] - {returned}
        assert not new or min(new) > max(before[table]), f"a {table}'s id was given twice"
    then, now = counters_in(cluster, "before"), counters_in(cluster)
    assert now[0] > then[0], "a version of the metadata was given twice"
    assert now[1] > then[1], "an epoch was given twice"


def test_managers_work_on_with_a_database_that_went_back_in_time(
    cluster: SeveralManagers, say: Callable[[str], None]
) -> None:
    for topic in ("gone", "grown"):
        change(cluster, "POST", "/topics", {"topic": topic, "number_of_partitions": 1})
        produce_one(cluster, topic, "before the backup")
    dump, pids, name = cluster.directory / "dump", cluster.pids, "restored"
    config = ClientConfig(heartbeat_interval_ms=1_000)
    with ExitStack() as stack:
        traffic = stack.enter_context(SteadyTraffic(cluster, name))
        cluster.server.run("pg_dump", "-Fc", "-f", str(dump), "postgres")
        dumped = ids_in(cluster)
        late = stack.enter_context(Consumer("grown", cluster.address, config=config))
        assert [str(one.value) for one in late.poll(timeout=10)] == ["before the backup"]
        with MetadataWork(cluster, name) as work:
            generation = after_the_backup(cluster)
            time.sleep(BACKUP_AGE_SECONDS)
        traffic.wait_for_all()
        begun_s = time.monotonic()
        cluster.restore(dump)
        back_s = time.monotonic()
        accepted_s = work.accepted_again(cluster.managers, seconds=SOME_TIME_SECONDS)
        traffic.require_no_gap(begun_s, through=[one.address for one in cluster.managers])
        own_s = traffic.own_seconds(back_s, accepted_s)
        check_topics(cluster)
        joined = change(cluster, "POST", "/groups/restored/join", {"topics": ["grown"]})
        assert joined.fields["generation"] > generation
        consumer_id = late.registrations["grown"].client_id
        wait_until(
            lambda: consumer_id in ids_in(cluster)["consumer"],
            what="a consumer that registered after the backup is known again",
        )
        produce_one(cluster, "grown", "for the late one")
        read: list[str] = []
        while "for the late one" not in read:
            read += [str(one.value) for one in late.poll(timeout=SOME_TIME_SECONDS)]
        assert "before the backup" not in read, "it goes on where it was"
    messages = traffic.check()
    check_numbers(cluster, dumped, returned=consumer_id)
    assert cluster.foreign_writes() == []
    assert cluster.pids == pids, "nothing was restarted"
    say(
        f"a dump of {BACKUP_AGE_SECONDS:.0f} s before restored: changes accepted"
        f" {accepted_s - back_s:.1f} s after; {messages} messages, the longest gap"
        f" {traffic.longest_s:.2f} s"
    )
    assert own_s < ACCEPTED_SECONDS
