"""API tokens made, listed and revoked over the API, by administrators alone."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from manager_app import selectors
from manager_app.inputs import EventsQuery
from manager_app.models import ApiToken
from tests.manager_app.test_known_tokens import ask, guarded

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["guarded"]
CI = {
    "name": "ci/build-1",
    "owner": "ada",
    "role": "viewer",
    "rights": [{"pattern": "orders.*", "rights": ["produce", "manage"]}],
}


async def make(site, status=201, by="root", **fields):
    return await ask(site, "POST", "/tokens", {**CI, **fields}, by=by, status=status)


async def test_a_token_is_made_used_listed_and_revoked(guarded):
    made = await make(guarded)
    assert made["name"] == "ci/build-1"
    assert made["owner"] == "ada"
    guarded.tokens["ci"] = made["token"]
    await ask(guarded, "GET", "/topics", by="ci")
    await ask(guarded, "POST", "/topics", {"topic": "orders.new"}, by="ci", status=201)
    *_, told = (await ask(guarded, "GET", "/tokens", by="root"))["tokens"]
    assert told["created_at"] > 1_700_000_000_000
    del told["created_at"]
    used = {"state": "active", "expires_at": None, "last_used": None}
    rights = [{"pattern": "orders.*", "rights": ["produce", "manage"]}]
    assert told == {**CI, "rights": rights, **used}
    assert made["token"] not in str(await ask(guarded, "GET", "/tokens", by="root"))
    for _ in range(2):
        await ask(guarded, "DELETE", "/tokens/ci/build-1", by="root")
    await ask(guarded, "GET", "/topics", by="ci", status=401)
    page = await ask(guarded, "GET", "/tokens?limit=1&after=4", by="root")
    assert [one["state"] for one in page["tokens"]] == ["revoked"]
    assert page["next"] is None
    await ask(guarded, "DELETE", "/tokens/none", by="root", status=404)


async def test_making_and_revoking_are_events_without_the_token(guarded):
    made = await make(guarded)
    await ask(guarded, "DELETE", "/tokens/ci/build-1", by="root")
    query = EventsQuery(about="token:ci/build-1", kind="access")
    events = (await guarded.in_database(selectors.events_list, query)).rows
    assert [event.text for event in events] == [
        "API token 'ci/build-1' is revoked",
        "API token 'ci/build-1' of ada made",
    ]
    assert {event.person for event in events} == {"API token 'root'"}
    assert made["token"] not in str([event.details for event in events])


async def test_the_text_is_kept_by_nobody_on_the_way(guarded):
    bearer = {"authorization": f"Bearer {guarded.tokens['root']}"}
    headers = {"content-type": "application/json", **bearer}
    body = msgspec.json.encode(CI)
    answer = await guarded.send("POST", "/tokens", body=body, headers=headers)
    assert (answer.status, answer.headers["cache-control"]) == (201, "no-store")


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"owner": "nobody"}, 404, "owner"),
        ({"name": "root"}, 400, "name"),
        ({"name": ""}, 400, "name"),
        ({"role": "emperor"}, 400, "role"),
        ({"rights": [{"pattern": "a b", "rights": ["produce"]}]}, 400, "pattern"),
        ({"rights": [{"pattern": "a", "rights": ["erase"]}]}, 400, "rights"),
        ({"rights": [{"pattern": "a", "rights": []}]}, 400, "rights"),
        ({"rights": [{"pattern": "a", "rights": ["manage"]}] * 2}, 400, "rights"),
        ({"expires_at": 1}, 400, "expires_at"),
    ],
)
async def test_what_cannot_be_is_refused(guarded, fields, status, field):
    count = await guarded.in_database(ApiToken.objects.count)
    answer = await make(guarded, status=status, **fields)
    assert answer["field"] == field
    assert await guarded.in_database(ApiToken.objects.count) == count


async def test_one_that_ends_by_itself_ends(guarded):
    ends = guarded.runtime.now_ms + 60_000
    made = await make(guarded, name="brief", expires_at=ends)
    guarded.tokens["brief"] = made["token"]
    await ask(guarded, "GET", "/topics", by="brief")
    guarded.clock.seconds += 61
    await ask(guarded, "GET", "/topics", by="brief", status=401)


@pytest.mark.parametrize("auth", ["required", "off"])
async def test_nobody_else_makes_one_whoever_may_do_all_else(guarded, settings, auth):
    settings.QUEUE = replace(settings.QUEUE, auth=auth)
    lacking = await make(guarded, by="maker", status=403)
    assert lacking["missing"] == "the role administrator"
    assert "administrator" in lacking["message"]
    assert (await make(guarded, by="", status=401))["code"] == "UNAUTHORIZED"
    for method, path in (("GET", "/tokens"), ("DELETE", "/tokens/root")):
        await ask(guarded, method, path, status=401)
        await ask(guarded, method, path, by="logs", status=403)
    await make(guarded)
