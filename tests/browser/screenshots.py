"""Pictures of the console for the documentation: `make screenshots` writes docs/images/console/.

A cluster of three brokers runs `manage.py demo` for a while; each page is taken wide and narrow,
light and dark. Pictures are a window high, so that they stay small.
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

FOLDER = ROOT / "docs" / "images" / "console"
DEMO_SECONDS = 150
"""Of traffic, so that the charts have something to show."""
COLOURS = 128
SETTLED_MS = 800
"""For what moves on a page to come to rest."""
PAGES = {
    "overview": "/admin/",
    "topics": "/admin/topics/",
    "topic": "/admin/topics/demo.orders/",
    "messages": "/admin/topics/demo.orders/messages/",
    "publish": "/admin/topics/demo.orders/publish/",
    "settings": "/admin/topics/demo.orders/settings/",
    "groups": "/admin/groups/",
    "brokers": "/admin/brokers/",
    "broker": "/admin/brokers/1/",
    "drain": "/admin/brokers/1/drain/",
    "rebalance": "/admin/rebalance/",
    "clients": "/admin/clients/",
    "events": "/admin/events/",
    "create-topic": "/admin/create-topic/",
    "message": "/admin/topics/demo.orders/messages/0/0/",
    "group": "/admin/groups/demo.billing/",
    "move": "/admin/groups/demo.reports/move/",
    "workers": "/admin/groups/demo.mailers/",
    "dead-letters": "/admin/groups/demo.mailers/dead-letters/demo.emails/",
    "token": "/admin/manager_app/apitoken/add/",
    "person": "/admin/auth/user/add/",
    "records": "/admin/records/",
}
"""Name of the picture -> path at a manager."""
OWN_PAGES = {"broker-itself": "/console/"}
"""The same at a broker."""


@contextmanager
def demo(cluster: Cluster) -> Iterator[None]:
    """Let there be traffic."""
    command = [sys.executable, "manage.py", "demo", "--manager", cluster.manager]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(DEMO_SECONDS)
            assert process.poll() is None, "the demo ended by itself"
            yield
        finally:
            process.terminate()


def keep(picture: bytes, path: Path) -> None:
    """Store a picture in few colours, a third of its size."""
    few = Image.open(BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def take(address: str, broker: str) -> None:
    """Take all pictures of a console, and of a broker's own pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for size in (WIDE, NARROW):
            for scheme in ("light", "dark"):
                viewport = {"width": size[0], "height": size[1]}
                context = browser.new_context(viewport=viewport, color_scheme=scheme)
                visitor = Visitor(context, address)
                visitor.log_in(SUPERUSER)
                own = Visitor(browser.new_context(viewport=viewport, color_scheme=scheme), broker)
                for who, pages in ((visitor, PAGES), (own, OWN_PAGES)):
                    for name, path in pages.items():
                        who.go(path).wait_for_timeout(SETTLED_MS)
                        picture = who.page.screenshot()
                        keep(picture, FOLDER / f"{name}-{size[0]}-{scheme}.png")
                    assert who.problems == [], who.problems
                    who.page.context.close()
        browser.close()


def main() -> None:
    """Start a cluster, let there be traffic, take the pictures."""
    with tempfile.TemporaryDirectory(prefix="screenshots-") as directory:
        variables = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        with (
            Cluster(Path(directory) / "data", variables=variables) as cluster,
            demo(cluster),
        ):
            take(cluster.manager, cluster.broker_addresses()[0])


if __name__ == "__main__":
    main()
