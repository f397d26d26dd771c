"""The list of pages that are looked at with a browser is that of the console's URLs."""

from __future__ import annotations

from django.urls import resolve

from manager_app.console.urls import urlpatterns
from tests.browser.pages import ADMIN, CONSOLE, NO_PAGES, paths

NAMES = {"topic": "orders", "group": "billing", "workers": "mailers", "mails": "mails"}


def test_every_page_of_the_console_is_looked_at_and_pictured():
    found = {name: resolve(path) for name, path in paths(**NAMES).items()}
    shown = {match.url_name for name, match in found.items() if name in CONSOLE}
    assert shown == {pattern.name for pattern in urlpatterns} - set(NO_PAGES)
    assert {found[name].namespace for name in CONSOLE} == {"console"}
    assert {found[name].namespace for name in ADMIN} == {"admin"}
