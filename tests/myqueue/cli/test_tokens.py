from __future__ import annotations

import time

import pytest

from myqueue.cli.main import main
from tests.myqueue.cli.operated import Operated, operated, terminal

__all__ = ["operated", "terminal"]
TOKEN = {
    "name": "ci",
    "owner": "ada",
    "role": "viewer",
    "rights": [{"pattern": "orders.*", "rights": ["produce", "manage"]}],
    "state": "active",
    "created_at": 1_769_817_600_000,
    "expires_at": None,
    "last_used": None,
}
MADE = {"name": "ci", "owner": "ada", "token": "qs_secret", "message": "made"}


def test_tokens_are_listed_without_their_texts(operated: Operated) -> None:
    operated.answers["GET /tokens"] = {"tokens": [TOKEN], "next": None}
    row = ["ci", "active", "ada", "viewer", "orders.*:produce+manage", "1769817600000", "-", "-"]
    assert operated.run("tokens") == [
        ["NAME", "STATE", "OWNER", "ROLE", "RIGHTS", "CREATED_AT", "EXPIRES_AT", "LAST_USED"],
        row,
    ]
    [told] = operated.told("tokens", "list")
    assert told == {**TOKEN, "rights": ["orders.*:produce+manage"]}


def test_the_text_of_a_new_one_stands_alone_on_the_output(
    operated: Operated, capsys: pytest.CaptureFixture[str]
) -> None:
    operated.answers["POST /tokens"] = MADE
    rights = ("--right", "orders.*:produce, manage", "--right", "a:consume")
    make = ("tokens", "create", "ci", "--owner", "ada", "--role", "viewer")
    assert main([*make, *rights, "--expires", "90d"]) == 0
    out, err = capsys.readouterr()
    assert out == "qs_secret\n"
    assert "not shown again" in err
    assert "qs_secret" not in err
    _, fields = operated.asked[0]
    ends = fields.pop("expires_at") / 1000 - time.time()
    assert 89 * 86_400 < ends <= 90 * 86_400
    assert fields == {
        "name": "ci",
        "owner": "ada",
        "role": "viewer",
        "rights": [
            {"pattern": "orders.*", "rights": ["produce", "manage"]},
            {"pattern": "a", "rights": ["consume"]},
        ],
    }
    assert operated.told(*make) == [{"name": "ci", "owner": "ada", "token": "qs_secret"}]


@pytest.mark.parametrize("right", ["orders", ":produce", "orders:erase", "orders:"])
def test_a_right_that_is_none_is_refused(operated: Operated, right: str) -> None:
    told = operated.refused("tokens", "create", "ci", "--owner", "ada", "--right", right)
    assert "PATTERN:RIGHT,..." in told


def test_one_is_revoked_after_a_question(operated: Operated) -> None:
    operated.answers["DELETE /tokens/a%2Fb"] = {"name": "a/b"}
    assert "Revoke the API token a/b for good?" in operated.refused("tokens", "revoke", "a/b")
    assert operated.asked == []
    assert operated.run("tokens", "revoke", "a/b", "--yes") == [["API token a/b is revoked"]]


def test_people_see_times_and_states(operated: Operated, terminal: None) -> None:
    operated.answers["GET /tokens"] = {"tokens": [TOKEN], "next": None}
    head, [row] = operated.run("tokens")
    assert head[0].startswith("NAME  STATE   OWNER  ROLE    RIGHTS                   CREATED")
    assert head[0].endswith("EXPIRES  LAST USED")
    assert row.startswith("ci    active  ada    viewer  orders.*:produce+manage  2026-01-3")
    assert row.endswith("  -        -")
