"""A proxy's word counts, the client's own does not."""

from __future__ import annotations

import pytest

from http_base.forwarded import BehindProxy
from http_base.requests import client_address_of
from tests.http_base.asgi_client import scope_of


@pytest.mark.parametrize(
    ("headers", "client", "scheme"),
    [
        ({}, "127.0.0.1", "http"),
        ({"x-forwarded-for": "10.0.0.7", "x-forwarded-proto": "https"}, "10.0.0.7", "https"),
        ({"x-forwarded-for": "1.2.3.4, 10.0.0.7"}, "10.0.0.7", "http"),
        ({"x-forwarded-for": "fd00::7"}, "fd00::7", "http"),
        ({"x-forwarded-for": "unknown", "x-forwarded-proto": "gopher"}, "127.0.0.1", "http"),
    ],
)
async def test_what_the_proxy_added_last_is_taken(headers, client, scheme):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    given = scope_of("GET", "/", headers)
    await BehindProxy(app)(given, None, None)
    assert client_address_of(seen[0]) == client
    assert seen[0]["scheme"] == scheme
    assert given["scheme"] == "http", "the server's own scope stays"


async def test_of_repeated_headers_the_last_counts_even_if_it_is_nothing():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    for last, client in ((b"10.0.0.7", "10.0.0.7"), (b"10.0.0.7:50000", "127.0.0.1")):
        given = scope_of("GET", "/", {})
        given["headers"] = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-for", last)]
        await BehindProxy(app)(given, None, None)
        assert client_address_of(seen.pop()) == client
