"""The brokers, and one of them: which machine is in trouble, can it be taken away?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from django.urls import reverse

from manager_app import runtime, selectors
from manager_app.brokers import leaving
from manager_app.console.actions import Action, Asked
from manager_app.console.charts import Chart, chart_of
from manager_app.console.formats import plural
from manager_app.console.page import asks_for_day, page
from manager_app.console.pages.overview import ShownProblem, seen
from manager_app.health.facts import BrokerFacts
from manager_app.models import Broker, BrokerState, Replica
from manager_app.placement.balance_round import running_moves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from manager_app.runtime import ManagerRuntime

PAGE_SIZE = 100
"""Brokers, and replicas, of one page."""


class BrokerRow(NamedTuple):
    """A broker of the list."""

    facts: BrokerFacts
    sparks: list[float | None]
    """Messages that came in, of the last ten minutes."""


@page("console/brokers.html", title="Brokers")
def brokers(request: HttpRequest) -> dict[str, Any]:
    """List the brokers by id."""
    manager = runtime.installed()
    facts, _ = seen(manager)
    known = {one.broker_id: one for one in facts.brokers}
    rows = list(
        Broker.objects.exclude(state=BrokerState.REPLACED)
        .filter(broker_id__gt=_number(request, "after"))
        .order_by("broker_id")[: PAGE_SIZE + 1]
    )
    shown = rows[:PAGE_SIZE]
    return {
        "rows": [BrokerRow(_as_seen(row, known), _sparks(manager, row.broker_id)) for row in shown],
        "next": shown[-1].broker_id if len(rows) > PAGE_SIZE else None,
    }


@page("console/broker.html")
def broker(request: HttpRequest, broker_id: int) -> dict[str, Any]:
    """Show one broker: how it is, what it holds, what moves away from it."""
    row = selectors.broker_get(broker_id)
    manager = runtime.installed()
    facts, problems = seen(manager)
    known = {one.broker_id: one for one in facts.brokers}
    own = _as_seen(row, known)
    replicas, after = _replicas(row, _number(request, "after"))
    return {
        "title": f"Broker {broker_id}",
        "broker": row,
        "own": own,
        "problems": [
            ShownProblem(one, "")
            for one in problems
            if one.to is not None and one.to.parts.get("broker_id") == broker_id
        ],
        "charts": [] if manager is None else _charts(manager, broker_id, day=asks_for_day(request)),
        "moves": [one for one in running_moves() if broker_id in (one.source, one.target)],
        "replicas": replicas,
        "next": after,
    }


def _as_seen(row: Broker, known: Mapping[int, BrokerFacts]) -> BrokerFacts:
    """Return what was seen of a broker last, with what people have changed since."""
    seen_last = known.get(row.broker_id) or BrokerFacts(
        broker_id=row.broker_id, address=row.address, state=row.state
    )
    return replace(seen_last, draining=row.draining)


def _number(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _sparks(manager: ManagerRuntime | None, broker_id: int) -> list[float | None]:
    if manager is None:
        return []
    figure = ("broker", broker_id, "messages_in")
    return manager.watch.histories.hour(figure, manager.monotonic_s(), points=120)


def _charts(manager: ManagerRuntime, broker_id: int, *, day: bool) -> list[Chart]:
    def chart(key: str, title: str, unit: str, **lines: str) -> Chart:
        named = [(name, ("broker", broker_id, figure)) for name, figure in lines.items()]
        now_s, histories = manager.monotonic_s(), manager.watch.histories
        return chart_of(histories, key, title, unit, lines=named, now_s=now_s, day=day)

    return [
        chart("messages", "Messages", "rate", In="messages_in", Out="messages_out"),
        chart("bytes", "Bytes", "bytes", In="bytes_in", Out="bytes_out"),
        chart("sync", "Write and sync of the log", "seconds", p50="sync_p50", p99="sync_p99"),
        chart("late", "Ticks of the clock that came late", "share", Late="late"),
    ]


def _replicas(broker: Broker, after: int) -> tuple[list[Replica], int | None]:
    """Return a page of a broker's replicas, and the key of the next."""
    rows = list(
        Replica.objects.filter(broker=broker, replica_id__gt=after)
        .select_related("partition__topic")
        .order_by("replica_id")[: PAGE_SIZE + 1]
    )
    more = len(rows) > PAGE_SIZE
    return rows[:PAGE_SIZE], rows[PAGE_SIZE - 1].replica_id if more else None


class BrokerAction(Action):
    """Something that is done to one broker, and leads back to its page."""

    subject = "broker {broker_id}"
    back = "console:broker"

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the broker."""
        return asked.parts


class HandOver(BrokerAction):
    """Lets other brokers lead what one leads."""

    title = "Hand over what broker {broker_id} leads"
    button = "Hand over leaderships"
    icon = "swap_horiz"

    def says(self, asked: Asked) -> list[str]:
        """Return what moves, and for how long."""
        count = selectors.broker_get(asked.parts["broker_id"]).led_partitions.count()
        return [
            f"{plural(count, 'leadership')} go to other brokers; writes wait a moment each time.",
            "Do it before you restart the broker.",
            "It gets leaderships again some minutes later, unless it is drained or stopped.",
        ]

    def do(self, asked: Asked) -> str:
        """Hand over."""
        agreed, of = leaving.hand_over(asked.manager, asked.parts["broker_id"])
        return f"{agreed:,} of {plural(of, 'leadership')} handed over."


class DrainBroker(BrokerAction):
    """Empties a broker, which is then removed."""

    title = "Drain broker {broker_id}"
    button = "Drain"
    icon = "move_down"

    def says(self, asked: Asked) -> list[str]:
        """Return what will move."""
        count = selectors.broker_get(asked.parts["broker_id"]).replicas.count()
        if not count:
            return ["It holds no replica, and is removed at once."]
        return [
            f"Its {plural(count, 'replica')} move to other brokers, one after the other.",
            "Messages can be written and read all the while.",
            "Once it holds none it is removed from the cluster. Until then it can be kept.",
        ]

    def do(self, asked: Asked) -> str:
        """Begin to drain it."""
        broker_id = asked.parts["broker_id"]
        replicas = leaving.drain(asked.manager, broker_id)
        if not replicas:
            return f"Broker {broker_id} is removed."
        return f"Broker {broker_id} is being emptied of {plural(replicas, 'replica')}."

    def next_url(self, asked: Asked) -> str:
        """Return the list, where the broker is removed already."""
        is_there = Broker.objects.filter(pk=asked.parts["broker_id"]).exists()
        return super().next_url(asked) if is_there else reverse("console:brokers")


class UndrainBroker(BrokerAction):
    """Lets a broker stay that is being drained."""

    title = "Keep broker {broker_id}"
    button = "Keep"
    icon = "undo"

    def says(self, asked: Asked) -> list[str]:
        """Return what stays."""
        return ["No further replica leaves it. Those that have moved to other brokers stay there."]

    def do(self, asked: Asked) -> str:
        """End the draining."""
        leaving.keep(asked.manager, asked.parts["broker_id"])
        return f"Broker {asked.parts['broker_id']} stays."
