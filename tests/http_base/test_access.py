from __future__ import annotations

import msgspec
import pytest

from http_base import access
from http_base.access import (
    ANY_RIGHT,
    CONSUME,
    MANAGE,
    PRODUCE,
    AccessIndex,
    AccessTable,
    Holder,
    Need,
    Role,
    TopicRight,
    hash_of,
    is_api_token,
)


@pytest.mark.parametrize(
    ("pattern", "topic", "covered"),
    [
        ("orders", "orders", True),
        ("orders", "orders2", False),
        ("orders", "order", False),
        ("orders.*", "orders.new", True),
        ("orders.*", "orders", False),
        ("orders.*", "ordersXnew", False),
        ("*", "whatever", True),
        ("a*b", "a*b", True),
        ("a*b", "axb", False),
        ("", "orders", False),
    ],
)
def test_a_pattern_is_a_name_or_the_beginning_of_one(pattern, topic, covered):
    right = TopicRight(pattern, (PRODUCE,))
    assert right.covers(PRODUCE, topic) is covered
    assert right.covers(ANY_RIGHT, topic) is covered
    assert not right.covers(CONSUME, topic)


def holder(**fields) -> Holder:
    return Holder(origin="token-1", name="t", **fields)


def test_rights_of_several_patterns_add_up():
    both = holder(rights=(TopicRight("a", (PRODUCE,)), TopicRight("b*", (CONSUME, MANAGE))))
    assert (both.may(PRODUCE, "a"), both.may(CONSUME, "a")) == (True, False)
    assert (both.may(MANAGE, "bc"), both.may(PRODUCE, "bc")) == (True, False)
    assert (both.may_somewhere(MANAGE), both.may_somewhere(ANY_RIGHT)) == (True, True)
    assert not holder().may_somewhere(ANY_RIGHT)


def test_a_token_ends_at_its_time():
    ends = holder(expires_ms=1_000)
    assert (ends.is_over(999), ends.is_over(1_000)) == (False, True)
    assert not holder().is_over(10**15)


def test_holders_are_found_by_token_and_by_origin_and_decided_once(monkeypatch):
    one = holder(hash=hash_of("qs_secret"), rights=(TopicRight("orders", (PRODUCE,)),))
    index = AccessIndex(AccessTable.of([one]))
    assert index.of_token("qs_secret") == index.of_origin("token-1") == one
    assert index.of_token("qs_other") is index.of_origin("token-2") is None
    assert index.may(one, PRODUCE, "orders")
    assert not index.may(one, CONSUME, "orders")
    monkeypatch.setattr(Holder, "may", None)  # what was decided is not worked out again
    assert index.may(one, PRODUCE, "orders")
    assert not index.may(one, CONSUME, "orders")


def test_decisions_take_a_bounded_place(monkeypatch):
    monkeypatch.setattr(access, "DECISIONS_MAX", 10)
    index = AccessIndex(AccessTable.of([holder()]))
    for number in range(100):
        assert not index.may(holder(), PRODUCE, f"t{number}")
    assert len(index._decided) <= 10


def test_what_no_topic_can_be_called_takes_no_place():
    index = AccessIndex(AccessTable.of([holder(rights=(TopicRight("a*", (PRODUCE,)),))]))
    assert index.may(index.table.holders[0], PRODUCE, "a" * (access.TOPIC_LENGTH_MAX + 1))
    assert not index._decided
    assert index.may(index.table.holders[0], PRODUCE, "a" * access.TOPIC_LENGTH_MAX)
    assert len(index._decided) == 1


def test_a_person_is_found_by_no_token():
    index = AccessIndex(AccessTable.of([holder()]))
    assert index._by_hash == {}


def test_the_version_of_a_table_follows_its_holders():
    one, other = holder(), Holder(origin="token-2", name="u", role=Role.VIEWER)
    versions = [
        AccessTable.of(holders).version
        for holders in ([], [one], [one, other], [one, msgspec.structs.replace(other, role=2)])
    ]
    assert len(set(versions)) == 4
    assert AccessTable.of([other, one]) == AccessTable.of([one, other])


def test_a_table_passes_through_json():
    table = AccessTable.of([holder(role=Role.OPERATOR, rights=(TopicRight("*", (PRODUCE,)),))])
    assert msgspec.json.decode(msgspec.json.encode(table), type=AccessTable) == table


def test_tokens_are_told_by_their_looks():
    assert is_api_token("qs_x")
    assert not is_api_token("WyJwcm9kdWNlciJd:x")


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (access.OPEN, "nothing"),
        (access.KNOWN, "a log-in or a token"),
        (access.CLUSTER, "the cluster's token"),
        (access.VIEW, "the role viewer"),
        (access.VIEW_TOPIC, "the role viewer or any right to the topic"),
        (access.CONSUMING, "the right consume to the topic"),
        (access.MOVE_OFFSETS, "the role operator or the right manage to the topic"),
        (Need(is_open_without_input=True), "a log-in or a token"),
    ],
)
def test_a_need_is_said_in_words(need, words):
    assert need.words == words
