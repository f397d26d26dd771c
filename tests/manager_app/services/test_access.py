from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from http_base.access import CONSUME, MANAGE, PRODUCE, Role, TopicRight, hash_of, is_api_token
from manager_app import selectors
from manager_app.models import ApiToken, TokenRight
from manager_app.services import access
from manager_app.services.access import token_create, token_revoke, tokens_used
from manager_app.services.cluster import cluster_ensure
from myqueue.contract.errors import InvalidRequest, NotFound

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    cluster_ensure()
    return User.objects.create_superuser("ada")


def test_the_token_itself_is_stored_nowhere(ada):
    token, text = token_create(
        "ci", "ada", role=Role.VIEWER, rights=[TopicRight("orders.*", (PRODUCE, MANAGE))]
    )
    assert is_api_token(text)
    assert len(text) > 42
    row = ApiToken.objects.values().get()
    assert (row["hash"], row["role"], row["owner_id"]) == (hash_of(text), 1, ada.pk)
    assert text not in str(row)
    right = TokenRight.objects.get(token=token)
    assert (right.pattern, right.produce, right.consume, right.manage) == (
        *("orders.*", True, False, True),
    )
    assert token_create("other", "ada")[1] != text


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, InvalidRequest),
        ({"name": "x" * 65}, InvalidRequest),
        ({"name": "a\nb"}, InvalidRequest),
        ({"name": "taken"}, InvalidRequest),
        ({"owner": "nobody"}, NotFound),
        ({"owner": "bob", "role": Role.VIEWER}, InvalidRequest),
        ({"rights": [TopicRight("or*ders", (CONSUME,))]}, InvalidRequest),
        ({"rights": [TopicRight("orders\n", (CONSUME,))]}, InvalidRequest),
        ({"rights": [TopicRight("", (CONSUME,))]}, InvalidRequest),
        ({"rights": [TopicRight("a", ())]}, InvalidRequest),
        ({"rights": [TopicRight("a", ("read",))]}, InvalidRequest),
        ({"rights": [TopicRight("a", (CONSUME,))] * 2}, InvalidRequest),
        ({"rights": [TopicRight(f"a{n}", (CONSUME,)) for n in range(101)]}, InvalidRequest),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(ada, fields, error):
    token_create("taken", "ada")
    User.objects.create_user("bob")
    given = {"name": "ci", "owner": "ada", **fields}
    with pytest.raises(error):
        token_create(given.pop("name"), given.pop("owner"), **given)
    assert ApiToken.objects.count() == 1


def test_there_are_so_many_tokens_at_most(ada, monkeypatch):
    monkeypatch.setattr(access, "TOKENS_MAX", 2)
    for name in ("a", "b"):
        token_create(name, "ada")
    with pytest.raises(InvalidRequest, match="revoke some"):
        token_create("c", "ada")
    token_revoke("a")
    token_create("c", "ada")


def test_a_revoked_token_stays_so_and_others_learn_of_it(ada):
    token_create("ci", "ada")
    before = selectors.metadata_version()
    at = token_revoke("ci").revoked_at
    assert at is not None
    assert selectors.metadata_version() > before
    assert token_revoke("ci").revoked_at == at
    with pytest.raises(NotFound):
        token_revoke("unknown")


def test_use_is_noted_and_never_goes_back(ada):
    token, _ = token_create("ci", "ada")
    other, _ = token_create("other", "ada")
    now = timezone.now()
    tokens_used([token.pk], now)
    tokens_used([token.pk], now - timedelta(hours=1))
    tokens_used([], now)
    token.refresh_from_db()
    other.refresh_from_db()
    assert (token.last_used, other.last_used) == (now, None)
