from __future__ import annotations

import logging

import pytest
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions as drf

from http_base.exceptions import failure_headers, to_failure
from myqueue.contract.errors import NoLeader, Overloaded
from tests.http_base.asgi_client import call


async def test_declared_error_keeps_its_status_and_details(send):
    answer = await send("GET", "/failing?how=leader")
    assert answer.status == 421
    assert answer.json["leader"] == {"broker_id": 2, "address": "http://127.0.0.1:8002"}


async def test_time_to_wait_becomes_a_header_in_whole_seconds(send):
    answer = await send("GET", "/failing?how=overloaded")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.json["retry_after_ms"] == 1_200


async def test_unknown_outcome_is_said(send):
    answer = await send("GET", "/failing")
    assert (answer.status, answer.json["outcome"]) == (503, "unknown")


@pytest.mark.parametrize(("method", "outcome"), [("GET", None), ("POST", "unknown")])
async def test_bug_is_logged_under_the_id_of_the_answer(send, caplog, method, outcome):
    with caplog.at_level(logging.ERROR, logger="http_base.exceptions"):
        answer = await send(method, "/failing?how=bug")
    assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
    assert answer.json.get("outcome") == outcome
    assert "secret of the server" not in answer.body.decode()
    assert answer.json["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_bug_outside_a_view_has_the_same_shape(hot_app, caplog):
    with caplog.at_level(logging.ERROR, logger="http_base.exceptions"):
        answer = await call(hot_app, "GET", "/broken")
    assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
    assert answer.json["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (drf.ParseError("no"), "INVALID_REQUEST"),
        (drf.NotAuthenticated(), "UNAUTHORIZED"),
        (drf.AuthenticationFailed(), "UNAUTHORIZED"),
        (drf.PermissionDenied(), "FORBIDDEN"),
        (drf.NotFound(), "NOT_FOUND"),
        (drf.MethodNotAllowed("PUT"), "METHOD_NOT_ALLOWED"),
        (drf.NotAcceptable(), "NOT_ACCEPTABLE"),
        (drf.UnsupportedMediaType("a/b"), "UNSUPPORTED_MEDIA_TYPE"),
        (drf.Throttled(3), "OVERLOADED"),
        (Http404(), "NOT_FOUND"),
        (PermissionDenied(), "FORBIDDEN"),
        (RequestDataTooBig("big"), "MESSAGE_TOO_LARGE"),
        (SuspiciousOperation("odd"), "INVALID_REQUEST"),
        (ValidationError("wrong"), "INVALID_REQUEST"),
        (KeyError("bug"), "INTERNAL"),
        (OperationalError("gone"), "DATABASE_UNAVAILABLE"),
        (InterfaceError("closed"), "DATABASE_UNAVAILABLE"),
    ],
)
def test_foreign_errors_join_the_tree(error, code):
    failure = to_failure(error, method="GET", path="/x")
    assert failure.code == code
    assert failure.message


def test_first_problem_of_a_serializer_is_named():
    error = drf.ValidationError({"partitions": [{}, {"offset": ["must be a number"]}]})
    failure = to_failure(error, method="POST", path="/x")
    assert failure.message == "partitions: must be a number"
    assert failure.details["field"] == "partitions"


def test_only_a_time_to_wait_makes_the_header():
    assert failure_headers(NoLeader()) == {}
    assert failure_headers(Overloaded(retry_after_ms=1)) == {"Retry-After": "1"}
