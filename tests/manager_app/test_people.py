"""People who logged in, calling the API of a manager with their session."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client, RequestFactory
from msgspec.structs import replace

from http_base import guard
from http_base.guard import Guard
from manager_app.models import Cluster, Topic
from manager_app.people import person_of

pytestmark = pytest.mark.django_db


class NobodyElse:
    """Knows no token."""

    def access(self):
        raise AssertionError("nobody shows a token here")

    verify = now_ms = used = access


@pytest.fixture
def required(settings):
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    guard.install(Guard(NobodyElse(), secret=settings.QUEUE.cluster_secret, person=person_of))
    yield
    guard.install(None)


def permission(codename, model):
    return Permission.objects.get_or_create(
        codename=codename, content_type=ContentType.objects.get_for_model(model)
    )[0]


@pytest.fixture
def browser(required):
    """A browser in which ada, an operator, has logged in; it checks CSRF as a real one is."""
    ada = User.objects.create_user("ada")
    ada.user_permissions.add(permission("operate_cluster", Cluster))
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    return browser


def code(answer):
    return answer.status_code, answer.json().get("code")


def test_a_session_shows_what_its_person_may_see(browser):
    assert browser.get("/producers").status_code == 200
    assert code(Client().get("/producers")) == (401, "UNAUTHORIZED")
    User.objects.update(is_active=False)
    assert code(browser.get("/producers")) == (401, "UNAUTHORIZED")


def test_a_person_without_the_permission_is_told_what_is_missing(browser):
    User.objects.get().user_permissions.clear()
    answer = browser.get("/producers")
    assert code(answer) == (403, "FORBIDDEN")
    assert answer.json()["missing"] == "the role viewer"
    assert "'ada'" in answer.json()["message"]


def test_a_session_changes_nothing_without_its_csrf_token(browser):
    refused = browser.post("/topics", "{}", content_type="application/json")
    assert code(refused) == (403, "FORBIDDEN")
    assert "CSRF" in refused.json()["message"]
    browser.cookies["csrftoken"] = secret = "a" * 32
    lacking = browser.post(
        "/topics",
        json.dumps({"topic": "logs"}),
        content_type="application/json",
        headers={"X-CSRFToken": secret},
    )
    assert lacking.json()["missing"] == "the role administrator or the right manage to the topic"


def test_to_use_messages_is_a_permission_of_its_own(browser):
    path = "/size?topic=logs&consumer_id=1"
    assert browser.get(path).json()["missing"] == "consume"
    ada = User.objects.get()
    ada.user_permissions.add(permission("consume_messages", Topic))
    request = RequestFactory().get(path)
    request.user = User.objects.get()
    caller = person_of(request)
    assert (caller.may("consume", "logs"), caller.may("produce", "logs")) == (True, False)


def test_a_browser_is_led_to_the_log_in(required):
    answer = Client().get("/docs", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/docs")
    assert Client().get("/docs").status_code == 401


def test_who_has_logged_in_sees_the_documentation(browser):
    assert browser.get("/docs").status_code == 200
