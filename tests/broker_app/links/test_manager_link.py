"""The link to managers over real HTTP."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from broker_app.links.manager_link import ManagerLink
from http_base.cluster import BrokerOrders, BrokerReport, ReplicaOrder, ReplicaPlace
from http_base.tokens import cluster_token
from myqueue.contract.errors import (
    Forbidden,
    ManagerNotFound,
    Overloaded,
    ReadOnlyManager,
    TopicDoesNotExist,
)
from tests.broker_app.manager_twin import CLUSTER_ID, ManagerTwin
from tests.eventually import eventually

SECRET = "a secret of a test run"
NOBODY = "http://127.0.0.1:1"


def report(*, full: bool = True) -> BrokerReport:
    return BrokerReport(incarnation="i" * 32, address="http://b:1", raft_address="b:2", full=full)


@pytest.fixture
async def manager():
    async with ManagerTwin() as manager:
        yield manager


@pytest.fixture
async def link(manager):
    link = ManagerLink([NOBODY, manager.address], SECRET)
    yield link
    await link.stop()


async def test_first_manager_that_answers_gives_the_orders(link, manager):
    orders = await link.send(report())
    assert (orders.broker_id, orders.cluster_id) == (1, CLUSTER_ID)
    assert manager.authorizations == [f"Bearer {cluster_token(SECRET)}"]
    assert link.last_contact is not None


async def test_manager_that_answered_is_asked_first_afterwards(link, manager):
    await link.send(report())
    assert link._addresses == [manager.address, NOBODY]


async def test_a_manager_says_who_leads_the_partitions_of_a_topic(link, manager):
    manager.topics["logs"] = [
        {"partition": 1, "leader": None, "term": 4},
        {"partition": 0, "leader": {"broker_id": 1, "address": "http://b:1"}, "replicas": []},
    ]
    assert await link.topic_leaders("logs") == ["http://b:1", None]
    with pytest.raises(TopicDoesNotExist):
        await link.topic_leaders("other")
    assert link.last_contact is None


async def test_a_topic_is_made_and_one_that_is_there_is_no_error(link, manager):
    for _ in range(2):
        await link.topic_create("logs.dead", 2, 3)
    assert manager.created == [
        {"topic": "logs.dead", "number_of_partitions": 2, "replication_factor": 3}
    ]


async def test_no_manager_is_told_with_their_addresses():
    link = ManagerLink([NOBODY], SECRET)
    with pytest.raises(ManagerNotFound, match=r"127\.0\.0\.1:1"):
        await link.send(report())
    await link.stop()


async def test_refusal_is_raised_as_the_managers_error(link, manager):
    manager.refusal = (403, {"status": "failure", "code": "FORBIDDEN", "message": "not you"})
    with pytest.raises(Forbidden, match="not you"):
        await link.send(report())


async def test_answer_that_is_no_json_is_no_answer(link, manager):
    manager.refusal = (200, "nonsense")
    with pytest.raises(ManagerNotFound):
        await link.send(report())


@pytest.mark.parametrize(
    "body", [b"{}", b'{"cluster_id": 7}', b'"\xff"', b'{"a": "\xff"}', b'{"a":' + b"[" * 9_999]
)
async def test_answer_that_cannot_be_read_is_no_contact(link, manager, body):
    manager.raw = body
    with pytest.raises(ManagerNotFound, match=f"manager at {manager.address} cannot be read"):
        await link.send(report())
    assert link.last_contact is None
    with pytest.raises(ManagerNotFound, match="cannot be read"):
        await link.topic_leaders("logs")


async def test_manager_whose_answer_cannot_be_read_is_passed_over(manager):
    async with ManagerTwin() as proxy:
        proxy.raw = b"{}"
        link = ManagerLink([proxy.address, manager.address], SECRET)
        assert (await link.send(report())).broker_id == 1
        assert link._addresses == [manager.address, proxy.address]
        await link.stop()


async def test_fields_that_only_a_later_manager_knows_are_ignored(link, manager):
    manager.more = {"novelty": {"of": "a later version"}}
    manager.assignment = [
        ReplicaOrder(
            group_id=1,
            replica_id=11,
            topic="logs",
            partition=0,
            bootstrap=True,
            replicas=[ReplicaPlace(11, 1)],
            epoch=1,
            version=1,
        )
    ]
    manager.more["assignment"] = [{**msgspec.to_builtins(manager.assignment[0]), "novelty": 1}]
    assert (await link.send(report())).assignment == manager.assignment


async def test_joining_waits_for_a_manager_that_takes_writes(link, manager, monkeypatch):
    monkeypatch.setattr("broker_app.links.manager_link.RETRY_SECONDS", 0)
    manager.refusal = (409, ReadOnlyManager("ask the other one").to_body())
    joining = asyncio.ensure_future(link.join(report()))
    async with asyncio.timeout(10):
        while len(manager.reports) < 2:
            await asyncio.sleep(0)
    manager.refusal = None
    orders = await joining
    assert orders.broker_id == 1


async def test_joining_ends_when_the_broker_is_refused_for_good(link, manager):
    manager.refusal = (403, Forbidden("another cluster").to_body())
    with pytest.raises(Forbidden):
        await link.join(report())


class Runner:
    """Starts a link and keeps what it made and took."""

    def __init__(self, link: ManagerLink) -> None:
        self.made: list[tuple[bool, frozenset[int]]] = []
        self.taken: asyncio.Queue[BrokerOrders] = asyncio.Queue()
        self.failures: list[BaseException] = []
        link.start(self._make, self.taken.put, on_failure=self.failures.append)

    def _make(self, full: bool, changed: frozenset[int]) -> BrokerReport:
        self.made.append((full, changed))
        return report(full=full)

    async def orders(self) -> BrokerOrders:
        return await asyncio.wait_for(self.taken.get(), 10)


async def test_heartbeat_sends_a_full_report_and_takes_the_orders(link):
    runner = Runner(link)
    link.heartbeat()
    await runner.orders()
    assert runner.made == [(True, frozenset())]


async def test_a_taken_report_is_followed_and_one_with_a_gap_makes_a_full_one_due(link, manager):
    runner = Runner(link)
    manager.takes = True
    for _ in range(2):
        link.heartbeat()
        await runner.orders()
    first, second = manager.reports
    assert (first.full, second.full, second.follows) == (True, False, first.number)
    manager.takes = False
    link.heartbeat()
    async with asyncio.timeout(10):
        while len(manager.reports) < 4:
            await asyncio.sleep(0)
    assert [one.full for one in manager.reports[2:]] == [False, True]


async def test_a_sign_of_life_names_no_replica_and_a_heartbeat_says_it_all(link):
    runner = Runner(link)
    link.sign()
    await runner.orders()
    link.heartbeat()
    link.sign()
    await runner.orders()
    assert runner.made == [(False, frozenset()), (True, frozenset())]


async def test_a_sign_of_life_names_the_replicas_that_went_on(link):
    runner = Runner(link)
    link.sign([5, 6])
    await runner.orders()
    assert runner.made == [(False, frozenset({5, 6}))]


async def test_leadership_changes_close_together_go_out_in_one_report(link):
    runner = Runner(link)
    for group_id in (3, 4, 3):
        link.leadership_changed(group_id)
    await runner.orders()
    assert runner.made == [(False, frozenset({3, 4}))]


async def test_report_that_no_manager_took_is_sent_again(link, manager, monkeypatch):
    monkeypatch.setattr("broker_app.links.manager_link.RETRY_SECONDS", 0)
    manager.refusal = (503, {"status": "failure", "code": "OVERLOADED", "message": "later"})
    runner = Runner(link)
    link.leadership_changed(7)
    async with asyncio.timeout(10):
        await eventually(lambda: manager.reports, "the link did it")
    manager.refusal = None
    await runner.orders()
    assert runner.made[-1] == (False, frozenset({7}))


async def test_answer_that_cannot_be_read_does_not_end_the_link(link, manager, monkeypatch, caplog):
    monkeypatch.setattr("broker_app.links.manager_link.RETRY_SECONDS", 0)
    caplog.set_level(logging.INFO, "broker_app.links.manager_link")
    manager.raw = b"{}"
    runner = Runner(link)
    link.heartbeat()
    async with asyncio.timeout(10):
        while len(runner.made) < 3:
            await asyncio.sleep(0)
    manager.raw = None
    assert (await runner.orders()).broker_id == 1
    assert runner.failures == []
    assert set(runner.made) == {(True, frozenset())}
    logged = [one for one in caplog.records if one.name == "broker_app.links.manager_link"]
    assert [one.levelname for one in logged] == ["WARNING", "INFO"], "not at every try"
    assert "cannot be read" in logged[0].message


async def test_another_reason_why_reports_are_not_taken_is_logged(
    link, manager, monkeypatch, caplog
):
    monkeypatch.setattr("broker_app.links.manager_link.RETRY_SECONDS", 0)
    runner = Runner(link)
    link.heartbeat()
    for reason in ("still starting", "read-only"):
        manager.refusal = (503, Overloaded(reason).to_body())
        tries = len(runner.made) + 3
        async with asyncio.timeout(10):
            while len(runner.made) < tries:
                await asyncio.sleep(0)
    warnings = [message for message in caplog.messages if "no manager takes reports" in message]
    assert [message.rpartition(" ")[2] for message in warnings] == ["starting", "read-only"]


async def test_reports_go_on_while_an_order_hangs(link, manager):
    """Orders are carried out one at a time; the newest answer to a full report is next."""
    begun: asyncio.Queue[int] = asyncio.Queue()
    hanging = asyncio.Event()
    under_way = [0]

    async def take(orders):
        under_way[0] += 1
        assert under_way[0] == 1
        begun.put_nowait(orders.epoch)
        await hanging.wait()
        under_way[0] -= 1

    async def answered(count):
        async with asyncio.timeout(10):
            while len(manager.reports) < count:
                await asyncio.sleep(0.001)

    failures: list[BaseException] = []
    link.start(lambda full, _: report(full=full), take, on_failure=failures.append)
    for epoch in range(1, 6):
        manager.more = {"epoch": epoch}
        link.heartbeat()
        await answered(epoch)
    assert await asyncio.wait_for(begun.get(), 10) == 1
    link.leadership_changed(3)
    manager.more = {"epoch": 6}
    await answered(6)
    assert begun.empty()
    assert not link._wake.is_set()
    hanging.set()
    assert [await asyncio.wait_for(begun.get(), 10) for _ in range(2)] == [5, 6]
    assert begun.empty()
    assert failures == []


async def test_bug_in_an_order_is_told(link):
    failures: list[BaseException] = []

    async def take(orders):
        raise AssertionError("our own bug")

    link.start(lambda full, _: report(full=full), take, on_failure=failures.append)
    link.heartbeat()
    async with asyncio.timeout(10):
        await eventually(lambda: failures, "the link did it")
    assert str(failures[0]) == "our own bug"


async def test_bug_in_the_link_is_told(link):
    failures: list[BaseException] = []

    def broken(full, changed):
        raise AssertionError("our own bug")

    async def take(orders):
        pass

    link.start(broken, take, on_failure=failures.append)
    link.heartbeat()
    async with asyncio.timeout(10):
        await eventually(lambda: failures, "the link did it")
    assert str(failures[0]) == "our own bug"
