"""The overview: is it well, and if not, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.urls import NoReverseMatch, reverse

from manager_app import runtime
from manager_app.console.charts import Chart, chart_of
from manager_app.console.page import asks_for_day, page
from manager_app.health.facts import ClusterFacts, stored_facts
from manager_app.health.problems import Problem, problems_of, sentence

if TYPE_CHECKING:
    from django.http import HttpRequest

    from manager_app.runtime import ManagerRuntime


class ShownProblem(NamedTuple):
    """A problem with the address of the page where one does something about it."""

    problem: Problem
    url: str


@page("console/overview.html", title="Overview")
def overview(request: HttpRequest) -> dict[str, Any]:
    """Show the cluster at a glance, as this manager saw it last."""
    manager = runtime.installed()
    facts, problems = seen(manager)
    severity, said = sentence(facts, problems)
    return {
        "severity": severity,
        "sentence": said,
        "problems": [ShownProblem(one, url_of(one)) for one in problems],
        "facts": facts,
        "charts": [] if manager is None else _charts(manager, day=asks_for_day(request)),
        "manager": manager,
    }


def seen(manager: ManagerRuntime | None) -> tuple[ClusterFacts, list[Problem]]:
    """Return what was seen last; before the first look, what the database knows."""
    if manager is not None and manager.watch.looked_s is not None:
        return manager.watch.facts, manager.watch.problems
    stored = stored_facts(runtime.suspects())
    facts = ClusterFacts(**stored._asdict())
    return facts, problems_of(facts)


def url_of(problem: Problem) -> str:
    """Return the address of a problem's page; empty when there is none."""
    if problem.to is None:
        return ""
    try:
        return reverse(problem.to.page, kwargs=dict(problem.to.parts))
    except NoReverseMatch:
        return ""


def _charts(manager: ManagerRuntime, *, day: bool) -> list[Chart]:
    now_s = manager.monotonic_s()

    def chart(key: str, title: str, unit: str, **lines: str) -> Chart:
        named = [(name, ("cluster", "", figure)) for name, figure in lines.items()]
        histories = manager.watch.histories
        return chart_of(histories, key, title, unit, lines=named, now_s=now_s, day=day)

    return [
        chart("messages", "Messages", "rate", In="messages_in", Out="messages_out"),
        chart("bytes", "Bytes", "bytes", In="bytes_in", Out="bytes_out"),
        chart("latency", "Time to store", "seconds", p50="latency_p50", p99="latency_p99"),
        chart("lag", "Lag of all groups", "count", Messages="lag"),
    ]
