from __future__ import annotations

import pytest

from http_base.tokens import (
    GRACE_MS,
    VALID_MS,
    ClientToken,
    bearer_of,
    cluster_token,
    is_cluster_token,
    sign_client,
    verify_client,
)
from myqueue.contract.errors import UnauthorizedException

SECRET = "the secret of this cluster"
TOKEN = ClientToken("producer", 7, "logs", 1_000)


def test_bearer_is_told_apart_from_other_headers():
    assert bearer_of("Bearer abc") == bearer_of("bearer  abc ") == "abc"
    for header in ("", "Bearer", "Bearer  ", "Basic abc", "abc"):
        assert bearer_of(header) is None


def test_signed_token_comes_back_as_it_was():
    text = sign_client(SECRET, TOKEN)
    assert verify_client(SECRET, text, now_ms=2_000) == TOKEN


def test_token_of_another_cluster_is_refused():
    with pytest.raises(UnauthorizedException, match="not valid"):
        verify_client("another secret", sign_client(SECRET, TOKEN), now_ms=2_000)


@pytest.mark.parametrize("text", ["", "x", ":", "a:b:c", "é", "\udcff", "x" * 100_000])
def test_garbage_is_refused(text):
    with pytest.raises(UnauthorizedException):
        verify_client(SECRET, text, now_ms=2_000)


@pytest.mark.parametrize("position", range(0, 60, 7))
def test_changed_token_is_refused(position):
    text = sign_client(SECRET, TOKEN)
    changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
    with pytest.raises(UnauthorizedException):
        verify_client(SECRET, changed, now_ms=2_000)


def test_overdue_token_is_taken_only_within_the_grace():
    text = sign_client(SECRET, TOKEN)
    last = TOKEN.issued_ms + VALID_MS
    assert verify_client(SECRET, text, now_ms=last) == TOKEN
    with pytest.raises(UnauthorizedException, match="expired"):
        verify_client(SECRET, text, now_ms=last + 1)
    assert verify_client(SECRET, text, now_ms=last + GRACE_MS, grace_ms=GRACE_MS) == TOKEN
    with pytest.raises(UnauthorizedException, match="expired"):
        verify_client(SECRET, text, now_ms=last + GRACE_MS + 1, grace_ms=GRACE_MS)


def test_cluster_token_is_known_by_its_secret_alone():
    token = cluster_token(SECRET)
    assert is_cluster_token(SECRET, token)
    assert not is_cluster_token("another secret", token)
    assert not is_cluster_token(SECRET, "é\udcff")
    assert not is_cluster_token("", cluster_token(""))


def test_client_token_is_no_cluster_token():
    assert not is_cluster_token(SECRET, sign_client(SECRET, TOKEN))
