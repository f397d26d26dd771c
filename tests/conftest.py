"""What all tests share."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.bound import Bound
from tests.together import CLUSTER, MEASURED, SHARING, WHOLE, group_of, place_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.cluster.kept import Kept
    from tests.cluster.processes import Cluster

if "QUEUESITE_ROLE" in os.environ:  # an older spelling would contradict what tests set
    os.environ.setdefault("QUEUE_ROLE", os.environ.pop("QUEUESITE_ROLE"))

# Deadlines measure the machine, not the code.
settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")


LONGEST = (
    *("tests/raft_app/test_failpoints", "tests/myqueue/conformance/", "tests/myqueue/test_sil"),
    *("tests/manager_app/test_database_silent", "tests/test_tidy"),
    *("tests/simulation/", "tests/raft_app/core/simulation/", "tests/raft_app/storage/"),
)
"""Of the files without real brokers that take longest, the longest first."""


def _rank(item: pytest.Item) -> int:
    path = item.nodeid
    return next((n for n, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST))


def pytest_configure(config: pytest.Config) -> None:
    """Hold each test to an end."""
    config.pluginmanager.register(Bound())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for no garbage while thousands of tests are collected, which are none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of every later search for garbage.

    Thousands of tests are a heap that takes a third of a second to search, and some tests ask for
    a search each time to see that they leave nothing behind.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kept_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept[Cluster]]:
    """Keep `manage.py cluster` with three brokers; it starts when a test wants it."""
    from tests.cluster.kept import Kept
    from tests.cluster.processes import Cluster

    with Kept(lambda: Cluster(tmp_path_factory.mktemp("cluster") / "data")) as kept:
        yield kept


@pytest.fixture(scope="module")
def shared_cluster(kept_cluster: Kept[Cluster]) -> Iterator[Cluster]:
    """Give one cluster to all tests of a module; they must not break it."""
    with kept_cluster.lent() as cluster:
        yield cluster


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that share a cluster behind each other, and what takes longest first.

    A long file that comes last keeps all cores but one idle. What breaks what its file shares comes
    last in it.
    """
    chosen = [item for item in items if item.get_closest_marker("cluster")]
    for item in chosen:
        path = item.location[0]
        if not path.startswith((CLUSTER, *WHOLE)):
            raise pytest.UsageError(f"{path}: nobody looks for a cluster test there")
        kept = [name for name in getattr(item, "fixturenames", ()) if name in SHARING]
        if kept and group_of(path) not in (*kept, *WHOLE):
            raise pytest.UsageError(f"{path} uses {kept[0]}, which tests/together.py does not say")
    items[:] = [item for item in items if not item.get_closest_marker("cluster")]
    items.sort(key=_rank)
    chosen.sort(key=lambda item: item.get_closest_marker("last") is not None)
    items += sorted(chosen, key=lambda item: place_of(item.location[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give the files that share a cluster to one worker."""
    if config.option.markexpr != "cluster":
        return None  # No test starts a cluster: files go to whoever is free.
    from xdist.scheduler import LoadFileScheduling

    class Sharing(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(super()._split_scope(nodeid))

    return Sharing(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the cluster that a group kept, with the group."""
    group = group_of(item.location[0])
    if nextitem is None or group_of(nextitem.location[0]) != group:
        kept = sys.modules.get("tests.cluster.kept")
        if kept is not None:
            kept.close_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured, also those that ran in a worker."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        if getattr(report, "when", "") == "call":
            for name, text in report.user_properties:
                if name == MEASURED:
                    terminalreporter.write_line(f"    {text}")
