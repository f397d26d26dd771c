"""A manager that asks who calls: registrations, what their tokens carry, and revocation at once."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from msgspec.structs import replace

from http_base.access import Role, TopicRight
from http_base.tokens import ClientToken, sign_client, verify_client
from manager_app import periodic
from manager_app.models import ApiToken
from manager_app.services.access import token_create, token_revoke
from tests.manager_app.site import Site

pytestmark = pytest.mark.django_db(transaction=True)
RIGHTS = [TopicRight("logs", ("produce", "consume"))]


@pytest.fixture
async def guarded(django_db_reset_sequences, request_threads, settings):
    """A manager with QUEUE_AUTH=required and three brokers; API tokens by name in `tokens`."""
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    site = Site()
    await site.start()
    site.tokens = await site.in_database(make_tokens)
    await site.in_database(site.runtime.metadata.refresh)
    yield site
    await site.stop()


def make_tokens():
    User.objects.create_superuser("ada")
    made = {
        "root": token_create("root", "ada", role=Role.ADMINISTRATOR)[1],
        "logs": token_create("logs", "ada", rights=RIGHTS)[1],
        "maker": token_create("maker", "ada", rights=[TopicRight("m.*", ("produce", "manage"))])[1],
    }
    return made | {"other": token_create("other", "ada", rights=[TopicRight("o", ("consume",))])[1]}


async def ask(site, method, path, fields=None, *, by="", bearer="", status=200):
    token = site.tokens.get(by, bearer)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return await site.ask(method, path, fields, status=status, **headers)


async def with_topic(site):
    fields = {"topic": "logs", "number_of_partitions": 1}
    await ask(site, "POST", "/topics", fields, by="root", status=201)
    await site.twins.reported()


async def test_the_token_of_a_registration_carries_who_registered(guarded):
    await with_topic(guarded)
    answer = await ask(guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs")
    runtime = guarded.runtime
    claims = verify_client(runtime.secret, answer["token"], now_ms=runtime.now_ms)
    row = await guarded.in_database(lambda: ApiToken.objects.get(name="logs"))
    assert claims.origin == f"token-{row.pk}"
    # Renewed, it still does; under its id another one names whoever came back.
    beat = f"/health?type=1&key={answer['producer_id']}"
    renewed = await ask(guarded, "GET", beat, bearer=answer["token"])
    assert verify_client(runtime.secret, renewed["token"], now_ms=runtime.now_ms).origin == (
        claims.origin
    )
    assert "token" not in await ask(guarded, "GET", beat, by="logs")
    again = {"topic": "logs", "producer_id": answer["producer_id"], "token": answer["token"]}
    await ask(guarded, "POST", "/producer/register", again, by="other", status=403)
    await ask(guarded, "POST", "/producer/register", again, by="logs")


async def test_through_a_manager_the_bearer_token_decides(guarded):
    await with_topic(guarded)
    one = await ask(guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs")
    two = await ask(guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs")
    message = {"topic": "logs", "producer_id": one["producer_id"], "message": "x"}
    await ask(guarded, "POST", "/producer/produce", message, status=401)
    await ask(guarded, "POST", "/producer/produce", message, by="other", status=403)
    await ask(guarded, "POST", "/producer/produce", message, by="root", status=403)
    await ask(guarded, "POST", "/producer/produce", message, by="logs")
    await ask(guarded, "POST", "/producer/produce", message, bearer=one["token"])
    await ask(guarded, "POST", "/producer/produce", message, bearer=two["token"], status=401)
    await ask(guarded, "POST", "/producer/produce", message | {"token": one["token"]})
    consume = {"topic": "logs", "consumer_id": 1}
    await ask(guarded, "POST", "/consumer/consume", consume, bearer=one["token"], status=403)


async def test_each_partition_of_a_list_is_judged(guarded):
    await with_topic(guarded)
    one = await ask(guarded, "POST", "/consumer/register", {"topic": "logs"}, by="logs")
    other = await ask(guarded, "POST", "/consumer/register", {"topic": "logs"}, by="logs")
    mine = {"partition": 0, "consumer_id": one["consumer_id"], "request_id": "x"}
    part, elsewhere = {"topic": "logs", **mine}, {"topic": "o", **mine}
    path = "/consumer/consume"
    await ask(guarded, "POST", path, {"partitions": [part]}, status=401)
    await ask(guarded, "POST", path, {"partitions": [{}]}, status=401)
    await ask(guarded, "POST", path, {"partitions": [{}]}, by="logs", status=400)
    await ask(guarded, "POST", path, {"partitions": [part]}, by="logs")
    await ask(guarded, "POST", path, {"partitions": [part, elsewhere]}, by="logs", status=403)
    await ask(guarded, "POST", path, {"partitions": [part]}, by="other", status=403)
    tokens = {"partitions": [part], "tokens": {"logs": one["token"]}}
    await ask(guarded, "POST", path, tokens)
    await ask(guarded, "POST", path, tokens | {"tokens": {"logs": other["token"]}}, status=401)
    await ask(guarded, "POST", path, {"partitions": [part]}, bearer=other["token"], status=401)


async def test_a_missing_topic_is_created_by_who_may_manage_it(guarded):
    lacking = await ask(
        guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs", status=403
    )
    assert "manage" in lacking["missing"]
    await ask(guarded, "POST", "/producer/register", {"topic": "m.new"}, by="maker")
    assert (await ask(guarded, "GET", "/topics", by="root"))["topics"] == ["m.new"]


CLIENT_CALLS = [
    ("GET", "/fetch?topic=logs&partition=0&offset=0", None),
    ("GET", "/offsets?topic=logs&partition=0&group=g", None),
    ("GET", "/offsets/by-time?topic=logs&partition=0&timestamp=0", None),
    ("POST", "/offsets/commit", {"group": "g", "generation": 1, "offset": 0}),
    ("POST", "/messages/receive", {"group": "g"}),
    *(("POST", f"/messages/{verb}", {"group": "g", "receipts": ["0.0.1"]}) for verb in ("ack",)),
]


async def test_calls_with_the_token_of_a_registration_ask_for_who_registered(guarded):
    await with_topic(guarded)
    registered = await ask(guarded, "POST", "/consumer/register", {"topic": "logs"}, by="logs")
    producer = await ask(guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs")
    now_ms, secret = guarded.runtime.now_ms, guarded.runtime.secret
    row = await guarded.in_database(lambda: ApiToken.objects.get(name="other"))

    def signed(origin):
        claims = ClientToken("consumer", registered["consumer_id"], "logs", now_ms, origin)
        return sign_client(secret, claims)

    for method, path, fields in CLIENT_CALLS:
        body = fields and {"topic": "logs", "partition": 0, **fields}
        for token, status, code in (
            ("", 401, "UNAUTHORIZED"),
            (guarded.tokens["logs"], 401, "UNAUTHORIZED"),
            (producer["token"], 401, "UNAUTHORIZED"),
            (signed(""), 401, "CLIENT_EXPIRED"),
            (signed("token-999"), 401, "UNAUTHORIZED"),
            (signed(f"token-{row.pk}"), 403, "FORBIDDEN"),
        ):
            answer = await ask(guarded, method, path, body, bearer=token, status=status)
            assert answer["code"] == code, (path, token)
    forget = f"/consumers/{registered['consumer_id']}"
    await ask(guarded, "DELETE", forget, {"token": signed("token-999")}, status=401)
    await ask(guarded, "DELETE", forget, {"token": registered["token"]})


async def test_a_client_is_forgotten_by_an_administrator_too(guarded, settings):
    await with_topic(guarded)
    for auth in ("required", "off"):
        settings.QUEUE = replace(settings.QUEUE, auth="required")
        made = await ask(guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs")
        settings.QUEUE = replace(settings.QUEUE, auth=auth)
        path = f"/producers/{made['producer_id']}"
        lacking = await ask(guarded, "DELETE", path, by="maker", status=403)
        assert lacking["missing"] == "the role administrator"
        await ask(guarded, "DELETE", path, status=401)
        await ask(guarded, "DELETE", path, bearer="qs_unknown", status=401)
        assert (await ask(guarded, "DELETE", path, by="root"))["partitions_pending"] == []
        await ask(guarded, "DELETE", path, by="root", status=404)


async def test_what_is_revoked_counts_no_more_at_once(guarded):
    await with_topic(guarded)
    registered = await ask(guarded, "POST", "/producer/register", {"topic": "logs"}, by="logs")
    message = {"topic": "logs", "producer_id": registered["producer_id"], "message": "x"}
    await guarded.stop_polling()
    await guarded.in_database(token_revoke, "logs")
    for token in (guarded.tokens["logs"], registered["token"]):
        await ask(guarded, "POST", "/producer/produce", message, bearer=token, status=401)
    fields = {"topic": "logs"}
    await ask(guarded, "POST", "/producer/register", fields, by="logs", status=401)

    def let_ada_go():
        person = User.objects.get(username="ada")
        person.is_active = False
        person.save()

    await ask(guarded, "GET", "/topics", by="root")
    await guarded.in_database(let_ada_go)
    await ask(guarded, "GET", "/topics", by="root", status=401)


async def test_the_use_of_tokens_is_stored_with_others(guarded):
    await ask(guarded, "GET", "/topics", by="root")
    assert await guarded.in_database(periodic.record_token_uses, guarded.runtime) == 1
    used = await guarded.in_database(
        lambda: dict(ApiToken.objects.values_list("name", "last_used"))
    )
    assert used["root"] is not None
    assert used["logs"] is None
    assert await guarded.in_database(periodic.record_token_uses, guarded.runtime) == 0


async def test_who_is_not_known_learns_of_no_topic(guarded):
    await ask(guarded, "POST", "/topics", {"topic": "logs"}, by="root", status=201)
    for topic in ("logs", "none"):
        for token in ({}, {"token": "nonsense"}):
            place = {"topic": topic, "partition": 0}
            several = {"partitions": [{**place, "offset": 0}], **token}
            [part] = (await ask(guarded, "POST", "/fetch", several))["partitions"]
            assert part["error"]["code"] == "UNAUTHORIZED", (topic, token)
            looked = {"partitions": [place], "group": "g", **token}
            [part] = (await ask(guarded, "POST", "/messages/receive", looked))["partitions"]
            assert part["error"]["code"] == "UNAUTHORIZED", (topic, token)
            taken = {**place, "group": "g", **token}
            await ask(guarded, "POST", "/messages/receive", taken, status=401)


async def test_the_log_says_who_changes_what(guarded, caplog):
    caplog.set_level("INFO", "manager_app.apis.base")
    await ask(guarded, "PATCH", "/brokers/1?draining=0", by="root")
    await ask(guarded, "GET", "/brokers", by="root")
    await ask(guarded, "DELETE", "/topics/m.x", by="maker", status=404)
    await ask(guarded, "DELETE", "/topics/logs", by="maker", status=403)
    said = [one.getMessage() for one in caplog.records if one.name == "manager_app.apis.base"]
    assert said == [
        "the API token 'root' at 127.0.0.1: PATCH '/brokers/1'",
        "the API token 'maker' at 127.0.0.1: DELETE '/topics/m.x'",
    ]


async def test_a_broker_is_told_who_may_what_when_it_has_another_table(guarded):
    [twin, *_] = guarded.twins.brokers
    orders = await twin.report()
    table = guarded.runtime.metadata.current.access.table
    assert orders.access == table
    assert len(table.holders) == 5, "four tokens, and ada, a superuser"
    known = table.version
    assert (await twin.report(access_version=known)).access is None
    await guarded.in_database(token_revoke, "logs")
    orders = await twin.report(full=False, access_version=known)
    assert [holder.name for holder in orders.access.holders] == [
        *(f"the API token '{name}'" for name in ("root", "maker", "other")),
        "the user 'ada'",
    ]


async def test_a_broker_keeps_no_other_alive_by_health(guarded):
    await ask(guarded, "GET", "/health?type=2&key=1", by="logs", status=403)
    await ask(guarded, "GET", "/health?type=2&key=1", by="root")
