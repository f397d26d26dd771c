from __future__ import annotations

import pytest

from http_base.access import OPEN
from http_base.apidoc import CLIENT_TOKEN, TOKEN_SAMPLE, ApiDoc, doc_of
from http_base.browsable import query_form
from myqueue.contract import inputs as protocol
from myqueue.contract.inputs import JSON
from tests.http_base.asgi_client import call
from tests.http_base.views_for_tests import EchoView


@pytest.mark.django_db
async def test_browser_gets_a_page_with_a_filled_form(hot_app):
    answer = await call(hot_app, "GET", "/echo", headers={"accept": "text/html,*/*;q=0.8"})
    page = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/html")
    assert "user 17 logged in" in page
    assert 'name="offset"' in page
    assert " queuesite</title>" in page
    assert "Django REST framework" not in page


@pytest.mark.django_db
async def test_browser_may_send_the_form(hot_app):
    answer = await call(
        hot_app,
        "POST",
        "/echo",
        body=b'{"topic": "logs", "producer_id": 1, "message": "from a form"}',
        headers={"accept": "text/html", "content-type": JSON},
    )
    assert answer.status == 200
    assert "from a form" in answer.body.decode()


def test_form_of_a_get_has_an_input_per_field():
    form = query_form(doc_of(EchoView(), "GET"))
    assert form.count("<input") == len(protocol.Fetch.__struct_fields__)
    assert form.count(" required") == 3


def test_form_of_a_get_is_filled_with_an_example_that_works():
    form = query_form(doc_of(EchoView(), "GET"))
    assert '<input name="topic" value="logs" required>' in form
    assert '<input name="token" value="">' in form


def test_form_asks_for_a_token_only_where_one_is_needed():
    open_call = ApiDoc(summary="Produce", access=OPEN, input=protocol.Produce)
    assert "token" not in open_call.form_example
    guarded = ApiDoc(summary="Produce", access=OPEN, input=protocol.Produce, token=CLIENT_TOKEN)
    assert guarded.form_example["token"] == TOKEN_SAMPLE
    assert "token" not in guarded.example
