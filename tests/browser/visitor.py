"""Somebody who looks at the console with a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
OPTIONS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking")
PASSWORD = "look-at-it-27"
SUPERUSER = "admin"
WIDE, NARROW = (1280, 800), (400, 800)
SERIOUS = ("serious", "critical")
ANSWER_MS = 30_000
"""For a page that only a busy machine delays."""


class Visitor:
    """A page of a browser in which somebody has logged in; notes what should not be."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address = address
        self.page: Page = context.new_page()
        self.page.set_default_timeout(ANSWER_MS)
        self.problems: list[str] = []
        """What the browser said in its console, and which other hosts were asked."""
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        context.on("request", self._asked)

    def log_in(self, name: str) -> None:
        """Log somebody in by the form."""
        self.page.goto(f"{self.address}/admin/login/?next=/admin/")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", PASSWORD)
        self.page.click("[type=submit]")
        self.page.wait_for_url(f"{self.address}/admin/")

    def go(self, path: str) -> Page:
        """Go to a page below `/admin/` and return it; it must be there."""
        answer = self.page.goto(f"{self.address}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        return self.page

    def status_of(self, path: str) -> int:
        """Return the status under which the person gets a page."""
        return self.page.request.get(f"{self.address}{path}", max_redirects=0).status

    def violations(self, *, rules: Sequence[str] = ()) -> list[str]:
        """Return what keeps people from using this page, as far as axe finds it by some rules."""
        options: dict[str, object] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": list(rules)}
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{one['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
            for one in found
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]

    def _heard(self, message: object) -> None:
        kind, text = message.type, message.text  # type: ignore[attr-defined]
        if kind in ("error", "warning"):
            self.problems.append(f"{kind}: {text}")

    def _asked(self, request: object) -> None:
        url = urlsplit(request.url)  # type: ignore[attr-defined]
        is_asked_for = url.scheme in ("http", "https", "ws", "wss")
        if is_asked_for and f"{url.scheme}://{url.netloc}" != self.address:
            self.problems.append(f"asked another host: {url.geturl()}")


def make_person(address: str, name: str, group: str, *, permissions: tuple[str, ...] = ()) -> None:
    """Make a user by the forms of the admin: of a group, with permissions by their codenames."""
    with requests.Session() as browser:
        _submit(browser, f"{address}/admin/login/", username=SUPERUSER, password=PASSWORD)
        added = _submit(
            browser,
            f"{address}/admin/auth/user/add/",
            username=name,
            password1=PASSWORD,
            password2=PASSWORD,
            usable_password="true",
        )
        form = browser.get(added.url).text
        groups = re.findall(rf'<option value="(\d+)"[^>]*>{group}</option>', form)
        assert len(groups) == 1, f"there is no group {group!r} in the form"
        given = [
            value
            for value, text in re.findall(r'<option value="(\d+)"[^>]*>([^<]*)</option>', form)
            if any(text.strip().endswith(one) for one in permissions)
        ]
        _submit(
            browser,
            added.url,
            username=name,
            is_active="on",
            is_staff="on",
            groups=groups,
            user_permissions=given,
            date_joined_0="2026-01-01",
            date_joined_1="00:00:00",
        )


def _submit(browser: requests.Session, url: str, **fields: object) -> requests.Response:
    browser.get(url, timeout=60)
    fields["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
    answer = browser.post(url, data=fields, headers={"Referer": url}, timeout=60)
    assert answer.ok, f"{url}: {answer.status_code}"
    assert answer.url != url, f"{url} was refused: {re.findall('errorn?o?t?e?.{200}', answer.text)}"
    return answer
