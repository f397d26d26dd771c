"""How long the pages of the console take in a cluster of many partitions, also without brokers."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from benchmarks.acknowledged import CheckFailed
from benchmarks.cluster import Shape
from benchmarks.measurement import Figure, Measurement, measure, percentile
from benchmarks.process_figures import exact_processor_seconds
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
LED_S = 1_800.0
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
    "topics/{topic}/messages/?start=time&time=2026-01-01T00:00",
    "topics/{topic}/messages/0/0/",
    "topics/{topic}/publish/",
    "topics/{topic}/settings/",
    "groups/",
    "groups/{group}/",
    "groups/{group}/move/",
    "brokers/",
    "brokers/1/",
    "brokers/2/",
    "brokers/1/drain/",
    "rebalance/",
    "clients/",
    "events/",
    "records/",
)
"""Below /admin/."""


class Took(NamedTuple):
    """What a page took, in seconds."""

    wall_s: float
    work_s: float
    """Processor time of the manager meanwhile, with what it does by itself."""


class Console:
    """A person looks at each page in turn; then two brokers are stopped, and again."""

    runs = 3
    warms_up = True
    figures = (
        Figure.CONSOLE_MS,
        Figure.CONSOLE_WORK_MS,
        Figure.CONSOLE_ALONE_MS,
        Figure.CONSOLE_ALONE_WORK_MS,
    )
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
        self._publish(self._seen_topic)
        self._manager_pid = site.manager_pid()
        self._log_in()

    def run(self, seconds: float) -> Measurement:
        """Look at every page again and again for some seconds, then without two brokers."""
        self._compared = 0
        started = time.perf_counter()
        whole = self._look(seconds)
        stopped = self._site.brokers()[1 : 1 + STOPPED]
        try:
            _signal(stopped, signal.SIGSTOP)
            time.sleep(NOTICED_S)
            alone = self._look(seconds)
        finally:
            _signal(stopped, signal.SIGCONT)
        latencies_s = [one.wall_s for times in (*whole.values(), *alone.values()) for one in times]
        measurement = measure(
            messages=len(latencies_s),
            seconds=time.perf_counter() - started,
            latencies_s=latencies_s,
        )
        whole_p50, alone_p50 = _medians(whole), _medians(alone)
        measurement.notes.extend(_lines(whole_p50, alone_p50))
        for figure, work, medians in (
            (Figure.CONSOLE_MS, Figure.CONSOLE_WORK_MS, whole_p50),
            (Figure.CONSOLE_ALONE_MS, Figure.CONSOLE_ALONE_WORK_MS, alone_p50),
        ):
            measurement.others[figure] = max(one.wall_s for one in medians.values()) * 1000
            measurement.others[work] = max(one.work_s for one in medians.values()) * 1000
        return measurement

    def check(self) -> int:
        """Return how many pages `run` got, each the page that it asked for."""
        return self._compared

    def close(self) -> None:
        """Keep nothing."""

    def _look(self, seconds: float) -> dict[str, list[Took]]:
        """Return what each page took, each time."""
        took: dict[str, list[Took]] = {page: [] for page in PAGES}
        end = time.perf_counter() + seconds
        while not took[PAGES[-1]] or time.perf_counter() < end:
            for page in PAGES:
                took[page].append(self._timed(page))
        return took

    @property
    def _seen_topic(self) -> str:
        return self._topics[len(self._topics) // 2]

    def _timed(self, page: str) -> Took:
        path = page.format(topic=self._seen_topic, group=f"group-{GROUPS // 2}")
        worked_s = exact_processor_seconds(self._manager_pid)
        started = time.perf_counter()
        try:
            with self._opener.open(
                f"{self._site.manager}/admin/{path}", timeout=ANSWER_S
            ) as answer:
                text, url = answer.read(), answer.url
        except HTTPError as error:
            text, url = error.read(), error.url
            if b"503 NO_LEADER" not in text:  # one message whose partition cannot be read
                raise CheckFailed(f"/admin/{path} answered {error.code}") from error
        took = Took(
            time.perf_counter() - started, exact_processor_seconds(self._manager_pid) - worked_s
        )
        if b"Log out" not in text or url.rpartition("/admin/")[2] != path:
            raise CheckFailed(f"/admin/{path} answered {url}")
        self._compared += 1
        return took

    def _publish(self, topic: str) -> None:
        """Let a topic have a message."""
        producer = self._call("/producer/register", topic=topic)["producer_id"]
        self._call("/producer/produce", topic=topic, producer_id=producer, message="x", partition=0)

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


def _medians(took: dict[str, list[Took]]) -> dict[str, Took]:
    return {
        page: Took(*(percentile(sorted(column), 50) for column in zip(*times, strict=True)))
        for page, times in took.items()
    }


def _lines(whole: dict[str, Took], alone: dict[str, Took]) -> list[str]:
    """Say what each page takes: ms until it is there, and processor ms of the manager."""
    lines = [f"{'p50 of a page':67} {'ms':>6} {'work':>6}   {'alone':>6} {'work':>6}"]
    for page in PAGES:
        (wall, work), (wall_alone, work_alone) = whole[page], alone[page]
        cells = f"{wall * 1000:6.0f} {work * 1000:6.0f}   "
        lines.append(f"/admin/{page:60} {cells}{wall_alone * 1000:6.0f} {work_alone * 1000:6.0f}")
    return lines


def _signal(places: Iterable[Place], number: signal.Signals) -> None:
    for place in places:
        os.kill(place.pid, number)
