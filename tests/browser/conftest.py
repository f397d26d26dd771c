"""A browser, and a cluster that all browser tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.visitor import (
    ANSWER_MS,
    CHROMIUM,
    OPTIONS,
    PASSWORD,
    WIDE,
    Visitor,
    make_person,
)
from tests.cluster.kept import Kept
from tests.cluster.processes import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

PEOPLE = {"vera": "viewer", "olga": "operator", "anna": "administrator"}
"""Who there is; `mona` is an operator who may read and publish messages too."""
MESSAGES = ("Can publish messages to every topic", "Can read the messages of every topic")


class PeopledCluster(Cluster):
    """A cluster in whose console people of each role can log in."""

    def start(self) -> None:
        """Start it; the first time, make the people."""
        is_new = not self.data_dir.exists()
        super().start()
        if is_new:
            for name, group in PEOPLE.items():
                make_person(self.manager, name, group)
            make_person(self.manager, "mona", "operator", permissions=MESSAGES)


expect.set_options(timeout=ANSWER_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser; it has an event loop, which would be in the way of other modules' own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def kept_browser_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kept[PeopledCluster]]:
    """Keep a cluster of three brokers for all browser tests."""
    variables = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    directory = tmp_path_factory.mktemp("browser") / "data"
    with Kept(lambda: PeopledCluster(directory, variables=variables)) as kept:
        yield kept


@pytest.fixture(scope="module")
def cluster(kept_browser_cluster: Kept[PeopledCluster]) -> Iterator[PeopledCluster]:
    """Give the cluster to a module; what it stops it starts again, its topics are deleted."""
    with kept_browser_cluster.lent() as cluster:
        yield cluster


@pytest.fixture
def visit(browser: Browser, cluster: PeopledCluster) -> Iterator[Callable[..., Visitor]]:
    """Return what logs somebody in and gives the visitor, by the name of one of `PEOPLE`.

    The test fails if a page said something in the console of the browser, or asked another host;
    what a test provokes itself it takes out of `visitor.problems`.
    """
    contexts, visitors = [], []

    def log_in(name: str, *, size: tuple[int, int] = WIDE, dark: bool = False) -> Visitor:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        visitor = Visitor(context, cluster.manager)
        visitors.append(visitor)
        visitor.log_in(name)
        return visitor

    yield log_in
    for context in contexts:
        context.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []
