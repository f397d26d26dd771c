"""Each rule by itself: what it says, when it says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager_app.health.facts import BrokerFacts, ClusterFacts, GroupFacts, Named
from manager_app.health.problems import BAD, NOTE, WARN, problems_of, sentence

WELL = BrokerFacts(
    broker_id=3,
    address="http://h:1",
    silent_s=2.0,
    disk_free_bytes=100 << 30,
    disk_reserve_bytes=1 << 30,
    ticks_late_share=0.0,
    answers=True,
)
CLUSTER = ClusterFacts(
    brokers=(WELL,), topics=1, partitions=4, replace_after_s=300.0, primary_address="http://m:1"
)


def keys(**facts):
    return [(one.key, one.severity) for one in problems_of(replace(CLUSTER, **facts))]


def of_broker(**facts):
    return keys(brokers=(replace(WELL, **facts),))


def test_a_cluster_that_is_well_has_no_problem():
    assert problems_of(CLUSTER) == []
    assert sentence(CLUSTER, []) == (
        "good",
        "All is well: 4 partitions with leaders and all replicas, on 1 broker.",
    )
    assert "no topic yet" in sentence(replace(CLUSTER, partitions=0), [])[1]


def of_versions(*versions, **facts):
    brokers = tuple(
        replace(WELL, broker_id=number, version=version, **facts)
        for number, version in enumerate(versions, 1)
    )
    return problems_of(replace(CLUSTER, brokers=brokers, version="1.1.0"))


def test_mixed_versions_are_told_with_who_runs_what():
    assert of_versions("1.1.0", "1.1.0") == []
    assert of_versions("1.1.0", "") == []
    assert of_versions("1.0.0", state="stopping") == []
    [told] = of_versions("1.1.0", "1.0.0", "1.1.0")
    assert (told.key, told.severity) == ("versions", NOTE)
    assert told.text == (
        "Versions are mixed: 1.1.0 on this manager, 1.0.0 on broker 2; 1.1.0 on brokers 1, 3."
    )
    [told] = of_versions(*["1.0.0"] * 7)
    assert told.text.endswith("1.0.0 on brokers 1, 2, 3, 4, 5 and 2 more.")


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"silent_s": 7.0}, []),
        ({"silent_s": 7.1}, [("broker 3 silent", BAD)]),
        ({"silent_s": None}, []),
        ({"state": "suspect"}, [("broker 3 silent", BAD)]),
        ({"state": "dead", "silent_s": None}, [("broker 3 silent", BAD)]),
        ({"state": "new", "silent_s": None}, [("broker 3 new", WARN)]),
        ({"state": "stopping"}, []),
        ({"disk_full": True}, [("broker 3 disk", BAD)]),
        ({"disk_free_bytes": (1 << 30) - 1}, [("broker 3 disk", BAD)]),
        ({"disk_free_bytes": (2 << 30) - 1}, [("broker 3 disk", WARN)]),
        ({"disk_free_bytes": 2 << 30}, []),
        ({"disk_free_bytes": 0}, []),
        ({"disk_slow": True}, [("broker 3 slow", WARN)]),
        ({"ticks_late_share": 0.05}, []),
        ({"ticks_late_share": 0.06}, [("broker 3 ticks", WARN)]),
        ({"ticks_late_share": None}, []),
        ({"state": "dead", "disk_full": True}, [("broker 3 silent", BAD)]),
    ],
)
def test_what_is_wrong_with_a_broker(facts, found):
    assert of_broker(**facts) == found


def test_a_silent_broker_is_named_with_its_place_and_how_long_it_is_silent():
    [problem] = problems_of(replace(CLUSTER, brokers=(replace(WELL, silent_s=17.0),)))
    assert problem.text == "Broker 3 does not answer."
    assert problem.age_s == 17.0
    assert "http://h:1" in problem.advice
    assert "300 s" in problem.advice
    assert problem.to.page == "console:broker"
    assert problem.to.parts == {"broker_id": 3}


def test_no_broker_at_all_is_a_problem():
    assert keys(brokers=()) == [("no broker", BAD)]


@pytest.mark.parametrize(
    ("name", "severity"), [("leaderless", BAD), ("lost", WARN), ("under_replicated", WARN)]
)
def test_partitions_are_counted_and_the_first_named(name, severity):
    few = replace(CLUSTER, **{name: Named(1, ("logs/0",))})
    many = replace(CLUSTER, **{name: Named(1_200, ("a/0", "a/1", "b/0"))})
    [problem] = problems_of(few)
    assert problem.severity == severity
    assert problem.text.startswith("1 partition has ")
    assert problem.text.endswith("logs/0.")
    [problem] = problems_of(many)
    assert problem.text.startswith("1,200 partitions have ")
    assert problem.text.endswith("a/0, a/1, b/0 and 1,197 more.")


BEHIND = GroupFacts(name="mailers", lag=5_000, lag_before=2_000.0, age_s=61.0)


@pytest.mark.parametrize(
    ("facts", "is_behind"),
    [
        ({}, True),
        ({"lag": 999, "lag_before": 10.0}, False),
        ({"age_s": 59.0}, False),
        ({"age_s": None}, False),
        ({"lag_before": None}, False),
        ({"lag_before": 4_600.0}, False),
        ({"lag_before": 9_000.0}, False),
    ],
)
def test_a_group_falls_behind_that_has_ever_more_old_messages_left(facts, is_behind):
    found = keys(groups=(replace(BEHIND, **facts),))
    assert found == ([("group mailers behind", WARN)] if is_behind else [])


def test_what_falls_behind_is_said_in_figures():
    [problem] = problems_of(replace(CLUSTER, groups=(BEHIND,)))
    assert "5,000 messages left, 3,000 more than 5 minutes ago" in problem.text


def test_dead_messages_and_dead_letters_are_problems():
    group = GroupFacts(name="mailers", dead=2)
    found = keys(groups=(group,), dead_letters={"mails.dead": 7})
    assert found == [("group mailers dead", WARN), ("dead letters mails.dead", WARN)]


def test_a_change_of_the_primary_is_told_for_a_while():
    assert keys(lease_age_s=599.0, epoch=4) == [("lease 4", NOTE)]
    assert keys(lease_age_s=601.0, epoch=4) == []


def test_the_worst_comes_first_and_makes_the_sentence():
    facts = replace(
        CLUSTER,
        brokers=(replace(WELL, disk_slow=True), replace(WELL, broker_id=4, state="dead")),
        lease_age_s=1.0,
    )
    found = problems_of(facts)
    assert [one.severity for one in found] == [BAD, WARN, NOTE]
    assert sentence(facts, found) == (BAD, "1 problem needs somebody now.")
    assert sentence(facts, found[1:]) == (WARN, "It works; 1 thing should be looked at.")
    assert sentence(facts, found[2:])[0] == "good"
