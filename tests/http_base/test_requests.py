"""A request on a hot path is Django's, as soon as somebody asks for more than its view needs."""

from __future__ import annotations

import io

import pytest
from django.core.handlers.asgi import ASGIRequest

from http_base.requests import HotRequest
from tests.http_base.asgi_client import scope_of


def both(headers: dict[str, str], body: bytes = b"") -> tuple[HotRequest, ASGIRequest]:
    scope = scope_of("POST", "/a/b?x=1&y=%C3%A4", headers)
    return HotRequest(scope, {}, body), ASGIRequest(scope, io.BytesIO(body))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json; charset=latin-1", "accept": "a", "cookie": "k=v"},
        {"authorization": "Bearer x", "x-under_score": "y", "host": "h:1"},
    ],
)
def test_what_was_put_off_is_as_django_makes_it(headers: dict[str, str]) -> None:
    hot, whole = both(headers)
    assert "META" not in vars(hot)
    for name in ("method", "path", "path_info", "script_name", "resolver_match"):
        assert getattr(hot, name) == getattr(whole, name)
    for name in ("content_type", "content_params", "META", "encoding", "GET", "COOKIES", "scheme"):
        assert getattr(hot, name) == getattr(whole, name), name
    assert dict(hot.headers) == dict(whole.headers)


def test_the_body_is_still_there_after_that() -> None:
    hot, _ = both({"content-type": "application/json"}, b"body")
    assert hot.read(2) == b"bo"
    assert hot.META["REQUEST_METHOD"] == "POST"
    assert hot.read() == b"dy"


def test_what_no_request_has_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = both({})[0].nonsense
