from __future__ import annotations

from tests.manager_app.apis.test_passing import GETS, GROUP, POSTS, ask, leader_of, registered


async def test_limits_are_checked_before_anybody_is_asked(site):
    token = await registered(site)
    for path, wrong in (
        ("/fetch", {"wait_ms": 30_001}),
        ("/messages/receive", {"wait_ms": -1}),
        ("/offsets/commit", {"timeout_ms": 60_001}),
    ):
        _, fields = (GETS | POSTS)[path]
        answer = await ask(site, path, fields, status=400, token=token, **wrong)
        assert answer["field"] in wrong
        assert leader_of(site).called(path) == []


async def test_a_write_with_an_unknown_outcome_is_not_made_twice(site):
    token = await registered(site)
    leader = leader_of(site)
    leader.breaks["/messages/receive"] = "after"
    answer = await ask(site, "/messages/receive", GROUP, status=503, token=token)
    assert (answer["code"], answer["outcome"]) == ("COMMIT_TIMEOUT", "unknown")
    assert len(leader.called("/messages/receive")) == 1
