"""Small versions of what is measured, on real servers of each other system that is installed."""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack, closing

import pytest

from benchmarks.acknowledged import Acknowledged, CheckFailed
from benchmarks.peers.catalogue import FLOORS, PEERS, make_system
from benchmarks.peers.session import Reading
from benchmarks.workloads.consume import Consume
from benchmarks.workloads.consume_fetch import ConsumeFetch
from benchmarks.workloads.end_to_end import EndToEnd
from benchmarks.workloads.failover import Failover
from benchmarks.workloads.idle import Idle
from benchmarks.workloads.produce_batch import ProduceBatch
from benchmarks.workloads.sync import Sync, Tasks

# A client of another system may leave a socket behind when its server is not up yet.
LEFT_BY_OTHERS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
pytestmark = [pytest.mark.cluster, LEFT_BY_OTHERS]

SECONDS = 0.1


WORKLOADS = {
    "sync": (lambda: Sync(1), lambda: Sync(4)),
    "tasks": (lambda: Tasks(2),),
    "produce_batch": (lambda: ProduceBatch(10),),
    "consume_fetch": (lambda: ConsumeFetch(3_000),),
    "worker": (lambda: Consume(Reading.WORKER, 3_000),),
    "end_to_end": (lambda: EndToEnd(Reading.FETCH),),
    "end_to_end_group": (lambda: EndToEnd(Reading.GROUP),),
    "idle": (lambda: Idle(3),),
}
"""By family; those that a running system goes on after."""
SYSTEMS = [make_system(name) for name in (*PEERS, *FLOORS)]


def name_of(value: object) -> str | None:
    """Return how a test calls a system or a workload."""
    if callable(value):
        value = value()
    return getattr(value, "name", None)


@pytest.fixture
def system(request):
    if missing := request.param.missing():
        pytest.skip(f"{request.param.name} is optional and {missing}")
    return request.param


@pytest.fixture(scope="module")
def session_of(tmp_path_factory):
    """Start each system once, whatever the order of the tests."""
    sessions = {}
    with ExitStack() as stack:

        def of(system):
            if system.name not in sessions:
                directory = tmp_path_factory.mktemp(system.name)
                where = stack.enter_context(system.running(directory))
                sessions[system.name] = stack.enter_context(closing(system.session(where)))
            return sessions[system.name]

        yield of
    gc.collect()


@pytest.fixture
def session(system, session_of):
    return session_of(system)


def of_systems(*, family: str):
    having = [one for one in SYSTEMS if family in one.families]
    return pytest.mark.parametrize("system", having, indirect=True, ids=name_of)


@pytest.mark.parametrize(
    ("system", "make"),
    [
        (system, make)
        for system in SYSTEMS
        for family, makers in WORKLOADS.items()
        if family in system.families
        for make in makers
    ],
    indirect=["system"],
    ids=name_of,
)
def test_every_run_counts_its_messages_and_checks_them(make, session):
    workload = make()
    workload.prepare(session)
    for _ in range(2):
        measurement = workload.run(SECONDS)
        assert measurement.messages > 0
        assert measurement.p50_ms <= measurement.p99_ms <= measurement.longest_ms
        assert workload.check() >= measurement.messages
    workload.close()


@of_systems(family="sync")
def test_a_message_that_is_not_there_is_found(session):
    topic = session.new_topic("lost")
    sender = session.sender(topic)
    acknowledged = Acknowledged()
    for value in (b"first", b"second"):
        (offset,) = session.run(sender.send(value))
        acknowledged.add(offset, [value])
    sender.close()
    acknowledged.add(None if offset is None else 2, [b"third"])
    with pytest.raises(CheckFailed, match="1 acknowledged messages are lost"):
        acknowledged.compare(session.stored(topic))


@of_systems(family="sync")
def test_servers_are_single_processes(session):
    for place in session.servers():
        os.kill(place.pid, 0)
    topic = session.new_topic("led")
    assert session.leader_of(topic) in session.servers()


@of_systems(family="failover")
@pytest.mark.last
def test_writing_goes_on_after_the_leader_was_killed(session):
    """Nobody starts the killed server, so no other test may follow."""
    workload = Failover(stops=False)
    workload.prepare(session)
    measurement = workload.run(SECONDS)
    assert workload.check() >= measurement.messages
    assert measurement.longest_ms > 0
