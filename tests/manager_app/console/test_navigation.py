from __future__ import annotations

import pytest
from django.test import RequestFactory
from django.urls import reverse

from manager_app.console import navigation
from manager_app.console.navigation import GROUPS

pytestmark = pytest.mark.django_db


class Person:
    def __init__(self, *permissions):
        self.permissions = permissions

    def has_perm(self, name):
        return name in self.permissions


def links(path="/admin/", *permissions):
    request = RequestFactory().get(path)
    request.user = Person(*permissions)
    return [one for group in navigation.navigation(request) for one in group["items"]]


def test_what_one_may_not_see_is_not_in_the_sidebar():
    assert links() == []
    shown = [one["title"] for one in links("/admin/", "manager_app.view_cluster")]
    assert "Overview" in shown
    assert not {"Tokens", "People"} & set(shown)


def test_a_page_that_is_not_there_is_left_out(monkeypatch):
    groups = (("", (("Gone", "dns", "console:no_such_page", "view_cluster"), *GROUPS[0][1])),)
    monkeypatch.setattr("manager_app.console.navigation.GROUPS", groups)
    shown = [one["title"] for one in links("/admin/", "manager_app.view_cluster")]
    assert "Gone" not in shown
    assert shown[0] == "Overview"


def test_one_entry_is_marked_as_where_one_is():
    of_records = reverse("console:records")
    active = [
        one["title"] for one in links(of_records, "manager_app.view_cluster") if one["active"]
    ]
    assert active == ["Records"]
