from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from django.db import OperationalError

from manager_app import lease as lease_module
from manager_app import selectors
from manager_app.lease import Lease
from manager_app.metadata import MetadataCopy
from manager_app.models import Cluster
from manager_app.services.cluster import cluster_ensure, lease_take
from myqueue.contract.errors import DatabaseUnavailable, ReadOnlyManager

pytestmark = pytest.mark.django_db

FIRST, SECOND, THIRD = "http://a:1", "http://b:1", "http://c:1"


@dataclass
class Manager:
    """A manager with a clock of its own, which began whenever its machine did."""

    address: str
    seconds: float = 0.0
    metadata: MetadataCopy = field(init=False)
    lease: Lease = field(init=False)

    def __post_init__(self):
        self.metadata = MetadataCopy(
            load=selectors.metadata_load,
            load_version=selectors.metadata_version,
            monotonic_s=self.clock,
        )
        self.lease = Lease(address=self.address, metadata=self.metadata, monotonic_s=self.clock)

    def clock(self):
        return self.seconds

    def start(self, *, alone=False):
        cluster_ensure()
        self.lease.begin(alone=alone)
        self.metadata.refresh()
        return self

    def refusal(self):
        with pytest.raises(ReadOnlyManager) as raised:
            self.lease.require()
        return raised.value.details.get("primary")


def stored():
    return Cluster.objects.values_list(
        "primary_address", "epoch", "metadata_version", "primary_renewals"
    ).get()


def pass_time(seconds, *managers, keep=(), step_s=1.0):
    """Let time pass for all managers; those of `keep` do what they do by the clock."""
    for _ in range(round(seconds / step_s)):
        for manager in managers:
            manager.seconds += step_s
        for manager in keep:
            manager.lease.keep()


@pytest.fixture
def pair():
    """The standby and the primary, which started first and holds the lease of epoch 3."""
    Manager(THIRD).start().lease.give_back()
    primary, standby = Manager(SECOND, 5.0).start(), Manager(FIRST, 90_000.0).start()
    standby.lease.keep()  # looks at the primary for the first time
    return standby, primary


def test_who_starts_first_is_the_primary_and_stays_it():
    primary = Manager(FIRST).start()
    assert (primary.lease.epoch, primary.lease.require(), primary.lease.write_epoch()) == (2, 2, 2)
    for _ in range(3):
        standby = Manager(SECOND).start()
        pass_time(3, primary, standby, keep=[primary, standby])
        assert standby.lease.epoch is None
        assert standby.refusal() == FIRST
    pass_time(60, primary, standby, keep=[primary, standby])
    assert stored()[:2] == (FIRST, 2)


def test_what_is_left_of_a_lease_runs_out_unless_it_is_renewed():
    primary = Manager(FIRST).start()
    standby = Manager(SECOND).start()
    pass_time(2, primary, standby)
    assert (primary.lease.left_s, standby.lease.left_s) == (3, 0)
    pass_time(1, primary, keep=[primary])
    assert primary.lease.left_s == 5
    pass_time(6, primary)
    assert primary.lease.left_s == 0


def test_who_is_alone_on_the_database_waits_for_nobody():
    Manager(FIRST).start()
    assert Manager(SECOND).start().refusal() == FIRST
    assert Manager(SECOND).start(alone=True).lease.require() == 3


def test_a_lease_that_is_given_back_is_taken_at_the_next_look(pair):
    standby, primary = pair
    primary.lease.give_back()
    assert stored()[:2] == ("", 3)
    assert not primary.lease.is_held
    standby.lease.keep()
    assert standby.lease.require() == standby.lease.write_epoch() == 4
    primary.lease.keep()
    assert stored()[:2] == (FIRST, 4)
    standby.lease.give_back()
    primary.lease.keep()
    assert stored()[:2] == ("", 4), "who ended takes nothing"


def test_a_lease_is_given_back_without_a_database(pair, monkeypatch, caplog):
    def unreachable(address, *, epoch):
        raise OperationalError("no route to the database")

    monkeypatch.setattr("manager_app.lease.lease_give_back", unreachable)
    pair[1].lease.give_back()
    assert not pair[1].lease.is_held
    assert "no route" in caplog.text


def test_a_healthy_primary_keeps_its_lease_when_the_database_was_away_for_all(pair):
    standby, primary = pair
    pass_time(60, standby, primary)
    standby.lease.keep()
    primary.lease.keep()
    pass_time(7, standby, primary, keep=[standby])
    assert stored()[:2] == (SECOND, 3)
    pass_time(2, standby, primary, keep=[standby])
    assert stored()[:2] == (FIRST, 4), "it was heard first a second after its renewal"


def test_a_renewal_is_no_change_of_the_metadata(pair):
    before = stored()
    pair[1].lease.keep()
    assert stored() == (*before[:3], before[3] + 1)


def test_a_standby_takes_over_from_a_silent_primary_under_a_higher_epoch(pair):
    standby, primary = pair
    version = stored()[2]
    pass_time(7, standby, primary, keep=[standby])
    assert stored()[:2] == (SECOND, 3)
    pass_time(1, standby, primary, keep=[standby])
    assert stored()[:3] == (FIRST, 4, version + 1)
    assert standby.lease.require() == 4
    assert standby.metadata.current.primary_address == FIRST


def test_a_renewal_that_finds_another_primary_ends_the_lease_at_once(pair):
    standby, primary = pair
    pass_time(9, standby, keep=[standby])
    # Its own clock stood still, as that of a machine that sleeps.
    assert primary.lease.epoch == 3
    primary.lease.keep()
    assert primary.lease.epoch is None
    assert primary.refusal() == FIRST
    assert stored()[:2] == (FIRST, 4)


def test_a_primary_that_reads_of_its_successor_stops_before_its_next_renewal(pair):
    standby, primary = pair
    pass_time(9, standby, keep=[standby])
    primary.metadata.poll()
    assert primary.refusal() == FIRST


def test_a_primary_that_renews_keeps_the_lease(pair):
    standby, primary = pair
    for _ in range(10):
        pass_time(5, standby, primary, keep=[standby])
        assert primary.lease.epoch == 3
        primary.lease.keep()
    assert stored()[:2] == (SECOND, 3)


@pytest.mark.parametrize("looks_every_s", [0.5, 1.0, 2.0, 3.0])
def test_two_managers_never_hold_the_lease_at_once(pair, monkeypatch, looks_every_s):
    standby, primary = pair

    def unreachable(address, *, epoch):
        raise OperationalError("no route to the database")

    def keep(at_s):
        monkeypatch.setattr("manager_app.lease.lease_renew", unreachable)
        with pytest.raises(OperationalError):
            primary.lease.keep()
        monkeypatch.undo()
        if at_s % looks_every_s == 0:
            standby.lease.keep()

    held = []
    for half_seconds in range(80):
        keep(half_seconds / 2)
        held.append((primary.lease.epoch, standby.lease.epoch))
        pass_time(0.5, standby, primary, step_s=0.5)
        if standby.lease.epoch is not None:
            break
    assert (3, 4) not in held
    # It held the lease until five seconds were over, then nobody did.
    assert [holder for holder, _ in held].count(3) == 11
    assert held[-1][0] is None
    assert standby.lease.epoch == 4


def test_a_primary_that_is_back_before_anybody_took_over_goes_on_in_its_epoch(pair):
    standby, primary = pair
    pass_time(6, standby, primary, keep=[standby])
    assert primary.lease.epoch is None
    with pytest.raises(DatabaseUnavailable) as raised:
        primary.lease.require()
    assert raised.value.outcome_known
    assert primary.lease.write_epoch() == 3, "the database says whether it may write"
    primary.lease.keep()
    assert primary.lease.epoch == 3
    pass_time(6, standby, keep=[standby])
    assert stored()[:2] == (SECOND, 3)


def test_a_renewal_counts_from_when_it_was_asked_for(pair, monkeypatch):
    _, primary = pair

    def slow(address, *, epoch):
        primary.seconds += 11
        return True

    monkeypatch.setattr("manager_app.lease.lease_renew", slow)
    primary.lease.keep()
    assert primary.lease.epoch is None


def test_one_of_two_standbys_takes_over(pair):
    standby, primary = pair
    third = Manager(THIRD)
    third.metadata.refresh()
    third.lease.keep()
    pass_time(40, standby, primary, third, keep=[third, standby])
    assert stored()[:2] == (THIRD, 4)
    assert (third.lease.epoch, standby.lease.epoch) == (4, None)


def test_who_read_the_lease_before_a_renewal_does_not_take_it(pair, monkeypatch):
    standby, primary = pair
    pass_time(7, standby, keep=[standby])
    find = selectors.cluster_find

    def find_then_renew():
        monkeypatch.undo()
        seen = find()
        primary.lease.keep()
        return seen

    monkeypatch.setattr(lease_module.selectors, "cluster_find", find_then_renew)
    pass_time(1, standby, keep=[standby])
    assert standby.lease.epoch is None
    assert primary.lease.require() == 3


def test_a_manager_that_restarts_supersedes_its_earlier_process(pair):
    _, primary = pair
    again = Manager(SECOND).start()
    assert again.lease.require() == 4
    primary.lease.keep()
    assert primary.refusal() is None
    assert stored()[:2] == (SECOND, 4)


def test_a_takeover_whose_answer_was_lost_is_made_once_more(pair, monkeypatch):
    standby, primary = pair
    pass_time(7, standby, primary, keep=[standby])
    take = lease_take

    def take_and_lose_the_answer(address, *, seen):
        assert take(address, seen=seen) == 4
        raise OperationalError("the connection is gone")

    monkeypatch.setattr("manager_app.lease.lease_take", take_and_lose_the_answer)
    with pytest.raises(OperationalError):
        pass_time(1, standby, keep=[standby])
    monkeypatch.undo()
    standby.metadata.poll()
    assert standby.refusal() is None
    pass_time(9, standby, keep=[standby])
    assert standby.lease.require() == 5


def test_without_a_cluster_there_is_nothing_to_take():
    alone = Manager(FIRST)
    alone.lease.begin(alone=True)
    pass_time(40, alone, keep=[alone])
    assert alone.refusal() is None
    assert not Cluster.objects.exists()
