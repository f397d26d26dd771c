"""The brokers, and one of them: which machine is in trouble, can it be taken away?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manager_app import runtime, selectors
from manager_app.apis.rendering import broker_summary
from manager_app.brokers import leaving
from manager_app.console.actions import Action, Asked
from manager_app.console.formats import plural
from manager_app.console.page import page
from manager_app.inputs import BrokersQuery

if TYPE_CHECKING:
    from django.http import HttpRequest

PAGE_SIZE = 100
"""Brokers of one page of the list."""


@page("console/brokers.html", title="Brokers")
def brokers(request: HttpRequest) -> dict[str, Any]:
    """List the brokers by id."""
    after = request.GET.get("after", "")
    suspects = runtime.suspects()
    asked = BrokersQuery(limit=PAGE_SIZE, after=after) if after else BrokersQuery(limit=PAGE_SIZE)
    found = selectors.brokers_with_counts(asked, suspects)
    return {
        "rows": [(row, broker_summary(row, suspects=suspects)) for row in found.rows],
        "next": found.next,
    }


@page("console/broker.html")
def broker(_: HttpRequest, broker_id: int) -> dict[str, Any]:
    """Show one broker."""
    row = selectors.broker_get(broker_id)
    return {
        "title": f"Broker {broker_id}",
        "broker": row,
        "summary": broker_summary(row, suspects=runtime.suspects()),
    }


class DrainBroker(Action):
    """Empties a broker, which is then removed."""

    title = "Drain broker {broker_id}"
    button = "Drain"
    icon = "move_down"
    subject = "broker {broker_id}"
    back = "console:broker"

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

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the broker."""
        return asked.parts


class UndrainBroker(Action):
    """Lets a broker stay that is being drained."""

    title = "Keep broker {broker_id}"
    button = "Keep"
    icon = "undo"
    subject = "broker {broker_id}"
    back = "console:broker"

    def says(self, asked: Asked) -> list[str]:
        """Return what stays."""
        return ["No further replica leaves it. Those that have moved to other brokers stay there."]

    def do(self, asked: Asked) -> str:
        """End the draining."""
        leaving.keep(asked.manager, asked.parts["broker_id"])
        return f"Broker {asked.parts['broker_id']} stays."

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the broker."""
        return asked.parts
