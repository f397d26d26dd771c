from __future__ import annotations

import pytest
from msgspec.structs import replace

from http_base import access, guard
from http_base.access import AccessIndex, AccessTable, Holder, Role, TopicRight, hash_of
from http_base.calls import DirectCall, head_of
from http_base.guard import NEWS_MS, Caller, Guard, require
from http_base.tokens import ClientToken, cluster_token
from myqueue.contract.errors import (
    ClientExpired,
    Forbidden,
    NotReady,
    UnauthorizedException,
)
from myqueue.contract.inputs import Consume

SECRET = "the secret of the cluster"
NOW_MS = 100_000
CLIENT = ClientToken("consumer", 7, "logs", 0, "token-1")
HOLDER = Holder(
    origin="token-1",
    name="ci",
    hash=hash_of("qs_ci"),
    rights=(TopicRight("logs", ("consume",)),),
    expires_ms=NOW_MS + 1,
)


class Tokens:
    """What a server knows of tokens."""

    def __init__(self, *holders):
        self.index = AccessIndex(AccessTable.of(holders)) if holders else None
        self.noted = []
        self.time_ms = NOW_MS

    def access(self):
        return self.index

    def verify(self, text):
        if text != "client":
            raise UnauthorizedException
        return CLIENT

    def now_ms(self):
        return self.time_ms

    def used(self, holder):
        self.noted.append(holder.origin)


@pytest.fixture
def tokens():
    return Tokens(HOLDER)


@pytest.fixture
def judge(tokens):
    return Guard(tokens, secret=SECRET)


def called(authorization="", query=""):
    return DirectCall(head_of(query, {b"authorization": authorization.encode()}), b"")


def test_each_token_is_somebodys(judge, tokens):
    assert judge.caller_of(cluster_token(SECRET)).is_cluster
    assert judge.caller_of("qs_ci").holder == HOLDER
    assert judge.caller_of("client").client == CLIENT
    assert tokens.noted == ["token-1"]
    for text in ("qs_other", "nonsense", cluster_token("another secret")):
        with pytest.raises(UnauthorizedException):
            judge.caller_of(text)


def test_a_field_is_the_token_of_a_registration_and_no_other(judge):
    class Doc:
        access, token, batches, input = access.CONSUMING, "", False, Consume
        other_inputs = ()

    query = "topic=logs&consumer_id=7&token="
    assert judge.judge(called(query=f"{query}client"), Doc(), {}).client == CLIENT
    judge.before_body(called(query=f"{query}client"), Doc())
    for text in (cluster_token(SECRET), "qs_ci"):
        with pytest.raises(UnauthorizedException):
            judge.judge(called(query=query + text), Doc(), {})
        with pytest.raises(UnauthorizedException):
            judge.before_body(called(query=query + text), Doc())


def test_an_api_token_ends_at_its_time_and_what_it_registered_with_it(judge, tokens):
    tokens.time_ms = NOW_MS + 1
    for text in ("qs_ci", "client"):
        with pytest.raises(UnauthorizedException):
            judge.caller_of(text)


def test_who_registered_must_be_there_and_have_the_right(judge):
    judge.check_origin(CLIENT)
    with pytest.raises(ClientExpired):
        judge.check_origin(CLIENT._replace(origin=""))
    with pytest.raises(UnauthorizedException):
        judge.check_origin(CLIENT._replace(origin="token-2"))
    for other in (CLIENT._replace(topic="other"), CLIENT._replace(kind="producer")):
        with pytest.raises(Forbidden) as caught:
            judge.check_origin(other)
        assert caught.value.details["topic"] == other.topic


def test_what_registered_just_now_may_be_newer_than_a_table_that_was_told(judge, tokens):
    new = CLIENT._replace(origin="token-2", issued_ms=NOW_MS - NEWS_MS + 1)
    with pytest.raises(UnauthorizedException):  # the database's own table has all
        judge.check_origin(new)
    tokens.index = AccessIndex(tokens.index.table, ())
    with pytest.raises(NotReady):
        judge.check_origin(new)
    with pytest.raises(UnauthorizedException):
        judge.check_origin(new._replace(issued_ms=NOW_MS - NEWS_MS))


def test_what_an_earlier_table_had_is_gone_however_new_its_client_is(judge, tokens):
    new = CLIENT._replace(issued_ms=NOW_MS)
    told = AccessIndex(tokens.index.table, ())
    tokens.index = told.followed_by(AccessTable.of(())).followed_by(AccessTable.of(()))
    with pytest.raises(UnauthorizedException):
        judge.check_origin(new)
    tokens.index = tokens.index.followed_by(told.table)
    judge.check_origin(new)


def test_without_a_table_what_was_signed_counts_and_api_tokens_wait():
    alone = Guard(Tokens(), secret=SECRET)
    assert alone.caller_of("client").client == CLIENT
    with pytest.raises(NotReady):
        alone.caller_of("qs_ci")


def test_a_client_may_do_that_alone_for_which_it_registered():
    client = Caller(HOLDER, client=CLIENT)
    assert client.may("consume", "logs")
    assert client.may(access.ANY_RIGHT, "logs")
    assert not client.may("produce", "logs")
    assert not client.may("manage", "logs")
    assert not client.may("consume", "other")
    assert not client.may(access.ANY_RIGHT, "other")


def test_a_right_is_needed_to_each_topic():
    both = Caller(replace(HOLDER, rights=(TopicRight("a*", ("consume",)),)))
    require(both, access.CONSUMING, ["a", "ab"])
    require(both, access.CONSUMING, None)
    require(both, access.CONSUMING_ANYTHING, [])
    for topics in (["a", "b"], [], ["b"]):
        with pytest.raises(Forbidden):
            require(both, access.CONSUMING, topics)
    with pytest.raises(Forbidden):
        require(both, access.PRODUCING, None)


def test_a_role_suffices_whatever_the_topic():
    operator = Caller(Holder(origin="user-1", name="o", role=Role.OPERATOR))
    for need in (access.KNOWN, access.VIEW, access.OPERATE, access.MOVE_OFFSETS):
        require(operator, need, ["x"])
    for need in (access.ADMINISTER, access.CHANGE_TOPIC, access.CONSUMING, access.CLUSTER):
        with pytest.raises(Forbidden):
            require(operator, need, ["x"])
    require(None, access.ADMINISTER)
    require(guard.CLUSTER_CALLER, access.CLUSTER)


def test_whoever_is_not_known_is_not_told_what_is_wrong_with_the_input(judge):
    class Doc:
        access, token, batches, input = access.CONSUMING, "", False, HOLDER.__class__
        other_inputs = ()

    with pytest.raises(UnauthorizedException):
        judge.judge(called(query="zz=1"), Doc(), {})


def test_with_authentication_nobody_passes_without_a_guard(settings):
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    guard.install(None)
    with pytest.raises(NotReady):
        guard.judge(called(), None, {})
    with pytest.raises(NotReady):
        guard.check_origin(CLIENT)
    settings.QUEUE = replace(settings.QUEUE, auth="off")
    assert guard.judge(called(), None, {}) is None
    guard.check_origin(CLIENT._replace(origin=""))
