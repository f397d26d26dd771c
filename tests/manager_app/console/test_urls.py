"""The list of pages that are looked at with a browser is that of the console's URLs."""

from __future__ import annotations

import re

from django.urls import resolve

from manager_app.console.urls import urlpatterns
from tests.browser import screenshots
from tests.browser.pages import ADMIN, CONSOLE, NO_PAGES, paths

NAMES = {"topic": "orders", "group": "billing", "workers": "mailers", "mails": "mails"}


def test_every_page_of_the_console_is_looked_at_and_pictured():
    found = {name: resolve(path) for name, path in paths(**NAMES).items()}
    shown = {match.url_name for name, match in found.items() if name in CONSOLE}
    assert shown == {pattern.name for pattern in urlpatterns} - set(NO_PAGES)
    assert {found[name].namespace for name in CONSOLE} == {"console"}
    assert {found[name].namespace for name in ADMIN} == {"admin"}


def test_every_page_and_incident_has_its_pictures_and_no_other_is_kept():
    kept = {picture.stem for picture in screenshots.FOLDER.glob("*.png")}
    assert kept == screenshots.pictures()
    assert max(one.stat().st_size for one in screenshots.FOLDER.glob("*.png")) < 100_000


def test_the_incidents_of_the_operations_page_are_pictured():
    text = (screenshots.ROOT / "docs/how-to/operations.md").read_text()
    shown = set(re.findall(r"images/console/(incident-[a-z-]+)\.png", text))
    assert shown == {f"incident-{one.name}" for one in screenshots.INCIDENTS}
