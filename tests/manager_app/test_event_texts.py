from __future__ import annotations

from manager_app import event_texts
from manager_app.metadata import Leadership
from manager_app.models import BrokerState


def test_names_are_listed_and_the_rest_counted():
    assert event_texts.listed([]) == ""
    assert event_texts.listed(["a"]) == "a"
    assert event_texts.listed(["a", "b", "c"]) == "a, b and c"
    assert event_texts.listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert event_texts.listed(["a", "b"], 5_002) == "a, b and 5,000 more"


def test_one_leader_is_told_with_its_term():
    event = event_texts.elected([(7, Leadership(2, 5))], {7: ("orders", 0)}, 2)
    assert (event.kind, event.action) == ("election", "leader elected")
    assert event.text == "orders/0 is led by broker 2 (term 5)"
    assert event.about == "\ntopic:orders\nbroker:2\n"
    lost = event_texts.elected([(7, Leadership(0, 5))], {7: ("orders", 0)}, 3)
    assert (lost.action, lost.text) == ("leader lost", "orders/0 has lost its leader (term 5)")
    assert lost.about == "\ntopic:orders\nbroker:3\n"


def test_five_thousand_leaders_are_one_event_that_says_how_many():
    moved = [(number, Leadership(2 + number % 2, 9)) for number in range(4_998)]
    moved += [(4_998, Leadership(0, 8)), (4_999, Leadership(0, 8))]
    places = {number: (f"t{number % 30}", number // 30) for number in range(100)}
    event = event_texts.elected(moved, places, 2)
    assert event.text == (
        "Leaders of 5,000 partitions changed; broker 2 leads 2,499, broker 3 leads 2,499 and"
        " 2 have none at the moment: t0/0, t1/0, t2/0, t3/0, t4/0 and 4,995 more"
    )
    assert event.about.count("topic:t") == 20
    assert "\ntopic:*\n" in event.about
    assert event.details == {
        "partitions": 5_000,
        "by_broker": {"2": 2_499, "3": 2_499},
        "without_leader": 2,
        "highest_term": 9,
        "reported_by": 2,
    }
    assert len(event.about) < 500


def test_a_broker_that_comes_and_goes_is_told_in_words():
    def told(state):
        event = event_texts.broker_changed(3, state, address="http://h:1")
        return event.action, event.text

    assert told(BrokerState.NEW) == ("broker joined", "Broker 3 at http://h:1 joined the cluster")
    assert told(BrokerState.ALIVE) == ("broker alive", "Broker 3 at http://h:1 reports again")
    assert told(BrokerState.DEAD)[0] == "broker dead"
    assert told(BrokerState.STOPPING)[0] == "broker stopping"


def test_replicas_that_are_lost_and_heal_are_one_event_each():
    lost, healed = event_texts.replicas_lost(1, 2, 1, [("a", 0), ("a", 1)])
    assert lost.text == "Broker 1 has 2 replicas faulty or missing: a/0 and a/1"
    assert lost.about == "\ntopic:a\nbroker:1\n"
    assert healed.text == "Broker 1 has 1 replica whole again"
    assert event_texts.replicas_lost(1, 0, 0, []) == []


def test_a_round_of_moves_is_one_event():
    event = event_texts.moves_begun("balance", [(("a", 0), 1, 4), (("b", 2), 2, 4)])
    assert event.text == (
        "Moving 2 replicas for balance: a/0 from broker 1 to broker 4 and"
        " b/2 from broker 2 to broker 4"
    )
    assert event.about == "\ntopic:a\ntopic:b\nbroker:1\nbroker:2\nbroker:4\n"
    repaired = event_texts.moves_begun("repair", [(("a", 0), 3, None)])
    assert (repaired.action, repaired.text) == (
        "replicas replaced",
        "Replacing 1 replica for repair: a/0 from broker 3",
    )
    gone = event_texts.moves_done([(("a", 0), 1)])
    assert gone.text == "1 replica moved away: a/0 has left broker 1"
