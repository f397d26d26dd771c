from __future__ import annotations

from datetime import timedelta

import pytest
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.utils import timezone


def render(text, path="/admin/topics/", **context):
    request = RequestFactory().get(path)
    return Template("{% load console %}" + text).render(RequestContext(request, context))


def test_figures_are_shown_as_people_read_them():
    shown = render(
        "{{ n|number }} {{ b|size }} {{ s|duration }} {{ u|number }}",
        n=12345,
        b=2048,
        s=None,
        u=None,
    )
    assert shown.split() == ["12,345", "2.0", "KiB", "unknown", "unknown"]
    assert render("{{ t|since }}", t=timezone.now() - timedelta(minutes=3)) == "3 min ago"
    assert render("{{ t|since }}", t=None) == "never"


@pytest.mark.parametrize(
    ("word", "tone"), [("alive", "good"), ("suspect", "warn"), ("dead", "bad"), ("odd", "plain")]
)
def test_a_badge_says_the_state_in_a_word_and_a_colour(word, tone):
    shown = render("{% badge state %}", state=word)
    assert f"q-{tone}" in shown
    assert f">{word}<" in shown


def test_a_badge_holds_no_markup():
    assert "<b>" not in render("{% badge state %}", state="<b>")


def test_a_sparkline_has_a_gap_where_nothing_is_known():
    shown = render("{% sparkline values %}", values=[1.0, 2.0, None, 4.0, 4.0])
    assert shown.count("M") == 2
    assert "last 4, most 4" in shown
    assert "<path" not in render("{% sparkline values %}", values=[None, 3.0])


def test_the_pager_keeps_what_else_was_asked_for():
    shown = render("{% pager next %}", "/admin/topics/?q=a%20b&after=x", next="y&z")
    assert 'href="?q=a+b"' in shown
    assert 'href="?q=a+b&amp;after=y%26z"' in shown
    assert "nav" not in render("{% pager next %}", next=None)


def test_a_query_is_changed_in_one_parameter():
    assert render("{% query sort='lag' %}", "/admin/topics/?q=a") == "?q=a&amp;sort=lag"
    assert render("{% query q=None %}", "/admin/topics/?q=a") == "/admin/topics/"


def test_the_events_of_a_thing_are_one_link_away():
    link = render('{% events_of "group" name %}', name="a&b")
    assert 'href="/admin/events/?about=group%3Aa%26b"' in link


@pytest.mark.parametrize("name", ["number", "size", "duration", "milliseconds", "age"])
def test_what_is_not_there_is_unknown(name):
    text = f"{{% load console %}}{{{{ total.lag|{name} }}}}"
    shown = {
        Template(text).render(Context(given)) for given in ({"total": None}, {}, {"total": {}})
    }
    assert shown == {Template(text).render(Context({"total": {"lag": None}}))}
