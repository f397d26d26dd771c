from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.http import HttpResponse

from http_base.access import ADMINISTER, OPERATE
from manager_app import runtime
from manager_app.console.page import may, page, why_read_only
from myqueue.contract.errors import ReadOnlyManager, TopicDoesNotExist

pytestmark = pytest.mark.django_db


def refuse():
    raise ReadOnlyManager("no", primary="http://h:1")


@pytest.fixture
def standby(monkeypatch):
    present = SimpleNamespace(
        read_only=False,
        is_primary=False,
        require_primary=refuse,
        require_writable=lambda: None,
        suspects=frozenset,
        watch=SimpleNamespace(looked_s=None),
    )
    monkeypatch.setattr(runtime, "installed", lambda: present)
    return present


def request_of(browser, path="/admin/records/"):
    """Return a request with its session, as a view gets it."""
    request = browser.get(path).wsgi_request
    if hasattr(request, "_may"):
        del request._may
    return request


@page("console/records.html", title="Something", needs=OPERATE)
def for_operators(request):
    return {"apps": []}


@page("console/records.html")
def failing(request):
    raise TopicDoesNotExist("there is no topic 'x'")


def test_whoever_has_not_logged_in_is_sent_to_log_in_and_back(client):
    answer = client.get("/admin/records/?a=1")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/admin/login/?next=/admin/records/%3Fa%3D1"


def test_a_refresh_after_the_session_ended_loads_the_page_again(client):
    answer = client.get("/admin/", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Refresh"] == "true"


def test_a_page_says_who_may_see_it(log_in):
    for role, status in (("", 403), ("viewer", 403), ("operator", 200), ("superuser", 200)):
        answer = for_operators(request_of(log_in(role)))
        assert answer.status_code == status, role
        shown = answer.render().content.decode()
        assert ("lacks the role operator" in shown) == (status == 403)


def test_a_page_whose_subject_is_gone_says_so_under_the_status_of_the_api(log_in):
    answer = failing(request_of(log_in("viewer")))
    assert answer.status_code == 404
    assert "there is no topic &#x27;x&#x27;" in answer.render().content.decode()


def test_a_refresh_gets_the_live_part_alone(log_in):
    browser = log_in("viewer")
    whole = browser.get("/admin/")
    part = browser.get("/admin/", headers={"HX-Request": "true"})
    assert b"<html" in whole.content
    assert b"<html" not in part.content
    live, _, chip = part.content.partition(b'<a id="health-chip"')
    assert live.strip() in whole.content
    assert b"hx-swap-oob" in chip
    assert whole.headers["Cache-Control"] == "no-store"


def test_what_a_person_may_follows_from_roles_and_rights(log_in):
    def of(role, **kinds):
        person = may(request_of(log_in(role, **kinds)))
        return (person.view, person.operate, person.administer, person.publish)

    assert of("") == (False, False, False, False)
    assert of("viewer") == (True, False, False, False)
    assert of("operator") == (True, True, False, False)
    assert of("administrator", messages=True) == (True, True, True, True)


def test_on_a_standby_nobody_changes_anything_and_the_page_says_why(log_in, standby):
    person = may(request_of(log_in("administrator")))
    assert person.have(ADMINISTER)
    assert person.view
    assert not person.operate
    assert "a standby" in why_read_only()
    assert "http://h:1" in why_read_only()
    assert b"This manager is a standby" in log_in("viewer").get("/admin/records/").content
    standby.read_only = True
    assert "read-only" in why_read_only()


def test_a_view_may_answer_by_itself(log_in):
    @page("console/records.html")
    def own(request):
        return HttpResponse("mine")

    assert own(request_of(log_in("viewer"))).content == b"mine"
