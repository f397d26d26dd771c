"""How long the pages of the console take in a cluster of many partitions, also without brokers."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from benchmarks.acknowledged import CheckFailed
from benchmarks.cluster import Shape
from benchmarks.measurement import Figure, Measurement, measure, percentile
from benchmarks.target import Target, at_most

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.floor import FloorKind
    from benchmarks.peers.queuesite import Site
    from benchmarks.peers.session import Place

TOPIC_PARTITIONS = 10
GROUPS = 500
STOPPED = 2
"""Brokers that answer nothing in the second half of a run."""
PASSWORD = "in-a-benchmark-27"  # noqa: S105 - of a cluster that ends with the run
ANSWER_S = 60.0
LED_S = 600.0
"""Until all partitions are led."""
NOTICED_S = 15.0
"""Until the console says that brokers are silent."""
POLL_S = 1.0
PAGES = (
    "",
    "topics/",
    "topics/?after={topic}",
    "topics/{topic}/",
    "topics/{topic}/messages/",
    "topics/{topic}/publish/",
    "topics/{topic}/settings/",
    "groups/",
    "groups/{group}/",
    "groups/{group}/move/",
    "brokers/",
    "brokers/1/",
    "rebalance/",
    "clients/",
    "events/",
)
"""Below /admin/."""


class Console:
    """A person looks at each page in turn; then two brokers are stopped, and again."""

    runs = 3
    warms_up = True
    figures = (Figure.CONSOLE_MS, Figure.CONSOLE_ALONE_MS)
    targets: tuple[Target, ...] = (
        at_most(Figure.CONSOLE_MS, 300),
        at_most(Figure.CONSOLE_ALONE_MS, 300),
    )
    floor: FloorKind | None = None
    shape = Shape(settings=(("DJANGO_SUPERUSER_PASSWORD", PASSWORD),))

    def __init__(self, partitions: int) -> None:
        """Have so many partitions, ten to a topic, and 500 groups."""
        self.name = f"console_{partitions}"
        self.summary = (
            f"the slowest page of the console among {partitions:,} partitions and {GROUPS} groups,"
            f" p50; the same with {STOPPED} of three brokers stopped"
        )
        self._topics = [
            f"topic-{number}" for number in range(max(1, partitions // TOPIC_PARTITIONS))
        ]
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self.slowest: dict[str, str] = {}
        """Figure -> the page that it is of."""

    def prepare(self, site: Site) -> None:
        """Make topics and groups, and log in."""
        self._site = site
        for topic in self._topics:
            self._call("/topics", topic=topic, number_of_partitions=TOPIC_PARTITIONS)
        expected = len(self._topics) * TOPIC_PARTITIONS
        deadline = time.monotonic() + LED_S
        while site.serving() < expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all of {expected} partitions are led after {LED_S:g} s")
            time.sleep(POLL_S)
        for number in range(GROUPS):
            topics = [self._topics[number % len(self._topics)]]
            joined = self._call(f"/groups/group-{number}/join", topics=topics)
            self._call(f"/groups/group-{number}/leave", member_id=joined["member_id"])
        self._log_in()

    def run(self, seconds: float) -> Measurement:
        """Look at every page again and again for some seconds, then without two brokers."""
        self._compared = 0
        started = time.perf_counter()
        took_s = self._look(seconds)
        whole_ms = self._worst(Figure.CONSOLE_MS, took_s)
        stopped = self._site.brokers()[1 : 1 + STOPPED]
        try:
            _signal(stopped, signal.SIGSTOP)
            time.sleep(NOTICED_S)
            alone_s = self._look(seconds)
        finally:
            _signal(stopped, signal.SIGCONT)
        alone_ms = self._worst(Figure.CONSOLE_ALONE_MS, alone_s)
        latencies_s = [one for times in (*took_s.values(), *alone_s.values()) for one in times]
        measurement = measure(
            messages=len(latencies_s),
            seconds=time.perf_counter() - started,
            latencies_s=latencies_s,
        )
        measurement.others[Figure.CONSOLE_MS] = whole_ms
        measurement.others[Figure.CONSOLE_ALONE_MS] = alone_ms
        return measurement

    def check(self) -> int:
        """Return how many pages `run` got, each the page that it asked for."""
        return self._compared

    def close(self) -> None:
        """Keep nothing."""

    def _look(self, seconds: float) -> dict[str, list[float]]:
        """Return how long each page took, each time."""
        took_s: dict[str, list[float]] = {page: [] for page in PAGES}
        end = time.perf_counter() + seconds
        while not took_s[PAGES[-1]] or time.perf_counter() < end:
            for page in PAGES:
                took_s[page].append(self._timed(page))
        return took_s

    def _timed(self, page: str) -> float:
        path = page.format(topic=self._topics[len(self._topics) // 2], group=f"group-{GROUPS // 2}")
        started = time.perf_counter()
        try:
            with self._opener.open(
                f"{self._site.manager}/admin/{path}", timeout=ANSWER_S
            ) as answer:
                text = answer.read()
        except HTTPError as error:
            raise CheckFailed(f"/admin/{path} answered {error.code}: {error.read()!r}") from error
        took_s = time.perf_counter() - started
        if b"Log out" not in text or answer.url.rpartition("/admin/")[2] != path:
            raise CheckFailed(f"/admin/{path} answered {answer.url}")
        self._compared += 1
        return took_s

    def _worst(self, figure: Figure, took_s: dict[str, list[float]]) -> float:
        """Return the greatest median of a page in milliseconds, and remember of which."""
        p50_ms = {page: percentile(sorted(times), 50) * 1000 for page, times in took_s.items()}
        worst = max(p50_ms, key=p50_ms.__getitem__)
        self.slowest[figure] = worst
        return p50_ms[worst]

    def _log_in(self) -> None:
        where = f"{self._site.manager}/admin/login/?next=/admin/"
        with self._opener.open(where, timeout=ANSWER_S) as page:
            [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())
        form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token}
        request = Request(where, urlencode(form).encode(), {"Referer": where})  # noqa: S310 - ours
        with self._opener.open(request, timeout=ANSWER_S) as page:
            if not page.url.endswith("/admin/"):
                raise CheckFailed(f"the log-in led to {page.url}")

    def _call(self, path: str, **fields: Any) -> dict[str, Any]:
        request = Request(  # noqa: S310 - http, our own cluster
            f"{self._site.manager}{path}",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json"},
        )
        with build_opener().open(request, timeout=ANSWER_S) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def _signal(places: Iterable[Place], number: signal.Signals) -> None:
    for place in places:
        os.kill(place.pid, number)
