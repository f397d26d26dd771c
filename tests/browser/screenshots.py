"""Pictures of the console for the documentation: `make screenshots` writes docs/images/console/.

A cluster of three brokers runs `manage.py demo` for a while; each page is taken wide and narrow,
light and dark. Pictures are a window high, so that they stay small. Then what
docs/how-to/operations.md tells of happens, and is pictured as well.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.incidents import INCIDENTS, SHOWN_MS, Incident
from tests.browser.pages import paths
from tests.browser.visitor import (
    CHROMIUM,
    NARROW,
    OPTIONS,
    PASSWORD,
    SUPERUSER,
    WIDE,
    Visitor,
)
from tests.cluster.processes import ROOT, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

FOLDER = ROOT / "docs" / "images" / "console"
DEMO_SECONDS, SHORT_DEMO_SECONDS = 150, 20
"""Of traffic, so that the charts have something to show; of that of the incidents alone."""
COLOURS = 96
SIZES = (WIDE, NARROW)
SCHEMES = ("light", "dark")
SETTLED_MS = 800
"""For what moves on a page to come to rest."""
PAGES = paths(
    topic="demo.orders", group="demo.billing", workers="demo.mailers", mails="demo.emails"
)
OWN_PAGES = {"broker-itself": "/console/"}
"""Name of the picture -> path at a broker."""


def pictures() -> set[str]:
    """Return the names of all pictures, without their ends."""
    pages = {
        f"{name}-{size[0]}-{scheme}"
        for name in (*PAGES, *OWN_PAGES)
        for size in SIZES
        for scheme in SCHEMES
    }
    return pages | {f"incident-{one.name}" for one in INCIDENTS}


@contextmanager
def demo(cluster: Cluster, seconds: float) -> Iterator[None]:
    """Let there be traffic."""
    command = [sys.executable, "manage.py", "demo", "--manager", cluster.manager]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(seconds)
            assert process.poll() is None, "the demo ended by itself"
            yield
        finally:
            process.terminate()


def keep(picture: bytes, path: Path) -> None:
    """Store a picture in few colours, a third of its size."""
    few = Image.open(BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def take(browser: Browser, address: str, broker: str) -> None:
    """Take the pictures of all pages of a console, and of a broker's own."""
    for size in SIZES:
        for scheme in SCHEMES:
            window = {"width": size[0], "height": size[1]}
            visitor = Visitor(browser.new_context(viewport=window, color_scheme=scheme), address)
            visitor.log_in(SUPERUSER)
            own = Visitor(browser.new_context(viewport=window, color_scheme=scheme), broker)
            for who, pages in ((visitor, PAGES), (own, OWN_PAGES)):
                for name, path in pages.items():
                    who.go(path).wait_for_timeout(SETTLED_MS)
                    keep(who.page.screenshot(), FOLDER / f"{name}-{size[0]}-{scheme}.png")
                assert who.problems == [], who.problems
                who.page.context.close()


def take_incident(browser: Browser, cluster: Cluster, incident: Incident) -> None:
    """Let something go wrong, and take the picture of the page that shows it."""
    window = {"width": WIDE[0], "height": WIDE[1]}
    visitor = Visitor(browser.new_context(viewport=window), cluster.manager)
    visitor.log_in(SUPERUSER)
    with incident.happens(cluster):
        page = visitor.page
        page.goto(f"{cluster.manager}{incident.path}")
        if incident.look is not None:
            incident.look(page)
        else:
            deadline = time.monotonic() + SHOWN_MS / 1000
            while not page.locator(incident.shows).count() and time.monotonic() < deadline:
                page.wait_for_timeout(SETTLED_MS)
                page.reload()
        page.locator(incident.shows).first.wait_for(timeout=SHOWN_MS)
        page.wait_for_timeout(SETTLED_MS + incident.lasts_ms)
        keep(page.screenshot(), FOLDER / f"incident-{incident.name}.png")
    page.context.close()


def main(only: str = "") -> None:
    """Start a cluster, let there be traffic, take the pictures: `incidents` alone, or all."""
    incidents_alone = only == "incidents"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        if old.stem not in pictures():
            old.unlink()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as directory:
        variables = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        with (
            sync_playwright() as playwright,
            Cluster(Path(directory) / "data", variables=variables) as cluster,
        ):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
            with demo(cluster, SHORT_DEMO_SECONDS if incidents_alone else DEMO_SECONDS):
                if not incidents_alone:
                    take(browser, cluster.manager, cluster.broker_addresses()[0])
                for incident in INCIDENTS:
                    take_incident(browser, cluster, incident)
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
