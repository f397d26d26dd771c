"""Who may see each page of the console and do each action: every URL against every kind of person.

The URLs come from the console itself and what each needs from what it declares, so that a new page
or action is tested without being named here, and one that declares nothing fails.
"""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import Resolver404, resolve, reverse

from http_base.access import CONSUMING, OPEN, PRODUCING, Role
from manager_app.console.urls import urlpatterns

ROLES = ("viewer", "operator", "administrator")
PEOPLE = {
    "nobody": {"role": ""},
    **{role: {"role": role} for role in ROLES},
    "message reader": {"role": "viewer", "messages": True},
}
"""Who looks -> how `make_person` makes them. Each has a name of their own."""
SAMPLES = {"topic": "logs", "group": "billing", "broker_id": 1, "partition": 0, "offset": 0}
"""Part of a URL -> one that is there."""
FORBIDDEN = 403


def parts_of(pattern):
    """Return sample parts for a URL."""
    return {
        name: SAMPLES.get(name, 1 if "Int" in type(converter).__name__ else "x")
        for name, converter in pattern.pattern.converters.items()
    }


def need_of(pattern):
    """Return what a page or an action declares that it needs."""
    view = pattern.callback
    return view.action().needs if hasattr(view, "action") else view.page().needs


def has(person, need):
    """Tell whether somebody has what is needed."""
    if person == "message reader" and need.right in ("produce", "consume"):
        return True
    role = Role[person.upper()] if person in ROLES else Role.NONE
    role = Role.VIEWER if person == "message reader" else role
    return bool(need.role) and role >= need.role


@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda pattern: pattern.name)
def test_every_url_declares_what_it_needs_and_no_action_is_for_everybody(pattern):
    need = need_of(pattern)
    assert need != OPEN
    if hasattr(pattern.callback, "action"):
        assert need.role > Role.VIEWER or need.right
    else:
        assert need.role or need in (CONSUMING, PRODUCING)


async def test_each_person_may_see_and_do_what_is_declared_and_finds_no_link_to_more(
    site, log_in_at
):
    await site.create_topic("logs", partitions=1)
    wrong = []
    for person, made in PEOPLE.items():
        browser = await log_in_at(**made, name=person)
        for pattern in urlpatterns:
            url = reverse(f"console:{pattern.name}", kwargs=parts_of(pattern))
            may = has(person, need_of(pattern))
            asked = await browser.get(url)
            if (asked.status == FORBIDDEN) == may or asked.status >= 500:
                wrong.append((person, "GET", url, asked.status))
            if not may:
                done = await browser.post(url, confirmed=1, typed="logs")
                if done.status != FORBIDDEN:
                    wrong.append((person, "POST", url, done.status))
            wrong += [
                (person, "link", url, target)
                for target in links_of(asked.body.decode())
                if (linked := action_at(target)) is not None and not has(person, linked.needs)
            ]
    assert wrong == []


async def test_whoever_has_not_logged_in_gets_to_the_form_and_does_nothing(site):
    await site.create_topic("logs", partitions=1)
    for pattern in urlpatterns:
        url = reverse(f"console:{pattern.name}", kwargs=parts_of(pattern))
        for method in ("GET", "POST"):
            answer = await site.send(method, url)
            allowed = (302, FORBIDDEN) if method == "POST" else (302,)
            assert answer.status in allowed, (method, url)


def links_of(page):
    return {
        unescape(one).partition("?")[0] for one in re.findall(r'(?:href|action)="([^"]+)"', page)
    }


def action_at(url):
    """Return the action whose URL this is; None where it is something else."""
    try:
        view = resolve(url).func
    except Resolver404:
        return None
    return view.action() if hasattr(view, "action") else None
