from __future__ import annotations

from django.contrib import admin
from django.urls import resolve
from unfold.sites import UnfoldAdminSite


def test_the_console_comes_before_the_admin_which_is_in_our_theme():
    assert resolve("/admin/").view_name == "console:overview"
    assert resolve("/admin/manager_app/topic/").view_name == "admin:manager_app_topic_changelist"
    assert resolve("/admin/login/").view_name == "admin:login"
    assert isinstance(admin.site, UnfoldAdminSite)


def test_the_admin_has_what_managers_store_and_nothing_of_brokers():
    admin.autodiscover()
    apps = {model._meta.app_label for model in admin.site._registry}
    assert "manager_app" in apps
    assert not apps & {"raft_app", "broker_app"}, "nobody would ever see it: managers have neither"
