from __future__ import annotations

from msgspec import structs

from broker_app.links.report_memory import FOLLOWING_MAX, ReportMemory
from http_base.cluster import BrokerOrders, BrokerReport, ReplicaReport

SAID = {
    "group_id": 7,
    "replica_id": 1,
    "topic": "logs",
    "partition": 3,
    "role": "follower",
    "term": 1,
    "leader_broker_id": 0,
    "serves": False,
    "log_start_offset": 0,
    "high_watermark": 0,
    "commit_index": 0,
    "applied_index": 0,
    "last_index": 0,
    "placement_version": 1,
    "replicas": [],
}


class Told:
    """A memory, and the manager that it tells of three replicas."""

    def __init__(self):
        self.memory = ReportMemory(100)
        self.offsets = {7: 0, 8: 0, 9: 0}
        self.version = 5
        self.known = set()

    def report(self):
        base = ReplicaReport(**SAID)
        gone, self.known = self.known - self.offsets.keys(), set(self.offsets)
        return BrokerReport(
            incarnation="i" * 32,
            address="http://b:1",
            raft_address="b:2",
            gone=list(gone),
            replicas=[
                structs.replace(base, group_id=group_id, high_watermark=offset)
                for group_id, offset in self.offsets.items()
            ],
        )

    def orders(self, taken=0):
        return BrokerOrders(
            cluster_id="c",
            broker_id=1,
            epoch=1,
            brokers=[],
            taken=taken,
            metadata_version=self.version,
        )

    def send(self, *, taken=True, carried_out=True):
        """Return what is sent, and whether a full report is wanted at once."""
        sent = self.memory.next_report(self.report())
        orders = self.orders(sent.number if taken else 0)
        again = self.memory.answered(sent, orders)
        if sent.full and carried_out:
            self.memory.carried_out(orders)
        return sent, again


def groups(report):
    return [one.group_id for one in report.replicas]


def test_a_report_that_follows_another_names_what_changed_and_what_is_gone():
    told = Told()
    first, _ = told.send()
    assert (first.full, first.follows, groups(first)) == (True, 0, [7, 8, 9])
    told.offsets[8] = 1
    del told.offsets[9]
    second, again = told.send()
    assert (second.full, second.follows, second.metadata_version) == (False, first.number, 5)
    assert (groups(second), second.gone, again) == ([8], [9], False)
    third, _ = told.send()
    assert (third.follows, third.replicas, third.gone) == (second.number, [], [])
    told.offsets[9] = 0
    assert groups(told.send()[0]) == [9]
    assert len({first.number, second.number, third.number}) == 3


def test_what_was_sent_without_an_answer_is_sent_again():
    told = Told()
    first, _ = told.send()
    told.offsets[8] = 1
    lost = told.memory.next_report(told.report())
    told.offsets[9] = 1
    sent, _ = told.send()
    assert (sent.follows, groups(sent)) == (first.number, [8, 9])
    assert sent.number != lost.number, "the manager may have taken the lost one"


def test_a_report_with_a_gap_before_it_is_followed_by_a_full_one_at_once():
    told = Told()
    told.send()
    refused, again = told.send(taken=False)
    assert (refused.full, again) == (False, True)
    full, again = told.send(taken=False)
    assert (full.full, again) == (True, False), "a manager that knows no numbers is asked once"
    assert told.send()[0].full
    assert not told.send()[0].full


def test_reports_are_full_until_the_orders_for_these_metadata_are_carried_out():
    told = Told()
    told.send(carried_out=False)
    assert told.send(carried_out=False)[0].full
    assert told.send()[0].full
    assert not told.send()[0].full
    told.version = 6
    sign = structs.replace(told.report(), full=False, replicas=[])
    assert not told.memory.answered(sign, told.orders())
    assert told.send()[0].full, "a sign of life said that the metadata changed"
    assert not told.send()[0].full


def test_now_and_then_a_report_is_full_whatever_was_taken():
    told = Told()
    sent = [told.send()[0].full for _ in range(2 * FOLLOWING_MAX + 2)]
    assert sent == ([True] + [False] * FOLLOWING_MAX) * 2


def test_a_full_report_names_also_what_did_not_change():
    told = Told()
    told.send()
    told.version = 6
    told.send(carried_out=False)
    assert told.memory.next_report(structs.replace(told.report(), replicas=[])).full
    full, _ = told.send()
    assert (groups(full), full.gone) == ([7, 8, 9], [])


def test_what_came_and_went_is_gone_and_what_never_came_is_not():
    told = Told()
    first, _ = told.send()
    told.memory.next_report(told.report())
    told.offsets[10] = 0
    told.memory.next_report(told.report())
    del told.offsets[10], told.offsets[7]
    sent = told.memory.next_report(structs.replace(told.report(), replicas=[], gone=[7, 10, 99]))
    assert (sent.follows, sent.replicas, sent.gone) == (first.number, [], [7, 10])
