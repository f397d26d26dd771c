from __future__ import annotations

import pytest
from django import forms
from django.contrib.admin.models import LogEntry
from django.db import OperationalError
from django.template import RequestContext, Template
from django.urls import include, path

from http_base.access import ADMINISTER
from manager_app.console import urls
from manager_app.console.actions import Action
from manager_app.console.page import may
from manager_app.models import Event
from manager_app.services.cluster import cluster_ensure
from myqueue.contract.errors import BrokerNotEmpty, CommitTimeout

pytestmark = pytest.mark.django_db

DONE = []


class Say(Action):
    title = "Say {word}"
    button = "Say it"
    subject = "word {word}"
    back = "console:overview"

    def says(self, asked):
        return [f"{asked.parts['word']} will be said."]

    def do(self, asked):
        word = asked.parts["word"]
        if word == "full":
            raise BrokerNotEmpty("it holds replicas")
        if word == "late":
            raise CommitTimeout("no quorum in time", outcome="unknown")
        DONE.append((word, asked.data))
        return f"{word} was said."


class Shout(Say):
    needs = ADMINISTER
    is_danger = True
    typed = "{word}"


class SayOften(Say):
    class form(forms.Form):
        times = forms.IntegerField(min_value=1, max_value=9)

    preview_template = "console/parts/empty.html"

    def preview(self, asked):
        return {"text": f"{asked.data['times']} times"}


class SayAtOnce(SayOften):
    previews = False


CLASSES = {"say": Say, "shout": Shout, "often": SayOften, "at_once": SayAtOnce}


def of(name):
    def view(request, **parts):
        return CLASSES[name].view(request, **parts)

    view.action = lambda: CLASSES[name]
    return path(f"do/{name}/<str:word>/", view, name=name)


urlpatterns = [
    path("admin/", include(([*urls.urlpatterns, *map(of, CLASSES)], "console"))),
    path("admin/", include("manager_app.console.site")),
]


@pytest.fixture(autouse=True)
def with_actions(settings):
    DONE.clear()
    cluster_ensure()
    settings.ROOT_URLCONF = __name__


def test_an_action_asks_first_and_does_nothing_by_a_get(log_in):
    answer = log_in("operator").get("/admin/do/say/hello/")
    assert answer.status_code == 200
    assert b"hello will be said." in answer.content
    assert not DONE


def test_what_was_done_is_said_and_written_down(log_in):
    answer = log_in("operator").post("/admin/do/say/hello/", {"confirmed": 1}, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    assert b"hello was said." in answer.content
    assert DONE == [("hello", {})]
    [logged] = LogEntry.objects.all()
    assert (logged.object_repr, logged.change_message) == (
        "word hello",
        "Say it: done. hello was said.",
    )
    event = Event.objects.get(kind="action")
    assert (event.action, event.text, event.origin) == ("say it", "hello was said.", "127.0.0.1")
    assert (event.person, event.outcome) == ("user 'operator'", "done")


def test_what_was_done_is_said_though_nothing_can_be_written_down(log_in, monkeypatch, caplog):
    def fail(*_, **__):
        raise OperationalError("no room")

    monkeypatch.setattr("manager_app.console.actions.event_store", fail)
    answer = log_in("operator").post("/admin/do/say/hello/", {"confirmed": 1}, follow=True)
    assert b"hello was said." in answer.content
    assert "nothing stored says that Say it was done: no room" in caplog.text
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("word", "status", "outcome", "shown"),
    [
        ("full", 409, "refused", b"it holds replicas"),
        ("late", 503, "unknown", b"Whether that was done is not known"),
    ],
)
def test_what_failed_is_said_with_its_outcome_and_written_down(
    log_in, word, status, outcome, shown
):
    answer = log_in("operator").post(f"/admin/do/say/{word}/", {"confirmed": 1})
    assert answer.status_code == status
    assert shown in answer.content
    assert Event.objects.get(kind="action").outcome == outcome
    assert LogEntry.objects.get().change_message.startswith(f"Say it: {outcome}. ")


def test_who_lacks_the_right_is_refused_and_sees_no_button(log_in):
    shown = {}
    for role in ("viewer", "operator", "administrator"):
        browser = log_in(role)
        for name in ("say", "shout"):
            url = f"/admin/do/{name}/hello/"
            asked = browser.get(url)
            template = Template(
                "{% load console %}{% action name word='hello' %}".replace(
                    "name", f"'console:{name}'"
                )
            )
            button = template.render(RequestContext(asked.wsgi_request))
            shown[role, name] = (asked.status_code, url in button)
            if asked.status_code == 403:
                given = {"confirmed": 1, "typed": "hello"}
                assert browser.post(url, given).status_code == 403
    assert shown == {
        ("viewer", "say"): (403, False),
        ("viewer", "shout"): (403, False),
        ("operator", "say"): (200, True),
        ("operator", "shout"): (403, False),
        ("administrator", "say"): (200, True),
        ("administrator", "shout"): (200, True),
    }
    assert not DONE


def test_a_danger_is_confirmed_by_typing_the_name(log_in):
    browser = log_in("administrator")
    for typed, status in (("", 400), ("hallo", 400), ("hello", 302)):
        given = {"confirmed": 1, "typed": typed}
        assert browser.post("/admin/do/shout/hello/", given).status_code == status
    assert DONE == [("hello", {})]


def test_a_form_is_filled_in_then_shown_as_what_will_be_done_then_done(log_in):
    browser = log_in("operator")
    url = "/admin/do/often/hello/"
    assert b'name="times"' in browser.get(url).content
    wrong = browser.post(url, {"times": 77})
    assert wrong.status_code == 400
    assert b"less than or equal to 9" in wrong.content
    preview = browser.post(url, {"times": 3})
    assert preview.status_code == 200
    assert b"3 times" in preview.content
    assert b'name="confirmed"' in preview.content
    assert not DONE
    assert browser.post(url, {"times": 3, "confirmed": 1}).status_code == 302
    assert DONE == [("hello", {"times": 3})]
    assert Event.objects.get(kind="action").details["asked"] == {"times": "3"}


def test_a_form_that_says_it_all_is_done_at_once(log_in):
    assert log_in("operator").post("/admin/do/at_once/hello/", {"times": 3}).status_code == 302
    assert DONE == [("hello", {"times": 3})]


def test_a_manager_that_writes_nothing_refuses(log_in, monkeypatch):
    browser = log_in("operator")
    monkeypatch.setattr("manager_app.console.page.why_read_only", lambda: "It is a standby.")
    monkeypatch.setattr("manager_app.console.actions.why_read_only", lambda: "It is a standby.")
    answer = browser.post("/admin/do/say/hello/", {"confirmed": 1})
    assert answer.status_code == 409
    assert b"It is a standby." in answer.content
    assert not DONE
    assert not may(answer.wsgi_request).operate
    monkeypatch.setattr(Say, "writes_metadata", False)
    assert browser.post("/admin/do/say/hello/", {"confirmed": 1}).status_code == 302
    assert DONE


def test_a_request_of_another_site_does_nothing(log_in):
    browser = log_in("operator")
    browser.handler.enforce_csrf_checks = True
    assert browser.post("/admin/do/say/hello/", {"confirmed": 1}).status_code == 403
    assert browser.put("/admin/do/say/hello/").status_code in (403, 405)
    assert not DONE
