"""The published documentation: built strictly, whole without another host, and fit to be read."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.visitor import ANSWER_MS, NARROW, SERIOUS, WIDE
from tests.cluster.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.cluster

AXE = {
    "resultTypes": ["violations"],
    "preload": False,
    "rules": {"aria-dialog-name": {"enabled": False}},  # the theme's search, which has a label
}
"""Styles cannot be read again from a folder."""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it; a link or an anchor that leads nowhere, and a page without a place, fail it."""
    place: Path = tmp_path_factory.mktemp("documentation")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", place],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return place


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page; the test fails if it asked for anything but files, or said something."""
    context = browser.new_context(viewport={"width": NARROW[0], "height": NARROW[1]})
    problems: list[str] = []
    context.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("file:", "data:")) else problems.append(asked.url)
        ),
    )
    page = context.new_page()
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


def test_every_page_opens_from_a_folder_and_asks_nobody(site: Path, page: Page) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 30
    wide = {}
    for path in pages:
        page.goto(path.as_uri())
        expect(page.locator("article h1").first).to_be_visible()
        if (overflow := page.evaluate(OVERFLOW)) > 0:
            wide[path.name] = overflow
    assert wide == {}, "pixels that a telephone does not show"


def test_search_works_from_a_folder(site: Path, page: Page) -> None:
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.goto((site / "how-to" / "sizing.html").as_uri())
    page.click(".md-search__input")
    page.locator(".md-search__input").press_sequentially("COMMIT_TIMEOUT")
    first = page.locator(".md-search-result__item").first
    expect(first).to_contain_text("Errors", timeout=2 * ANSWER_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "how-to/fastapi"])
def test_pages_can_be_read_by_everybody(site: Path, page: Page, name: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.goto((site / f"{name}.html").as_uri())
    shown = page.evaluate("document.body.dataset.mdColorScheme")
    assert shown == {"light": "default", "dark": "slate"}[scheme]
    found = Axe().run(page, options=AXE)
    serious = [one for one in found.response["violations"] if one["impact"] in SERIOUS]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
