"""Producers and consumers: who is there, and when was it heard last?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from msgspec import structs

from manager_app import runtime, selectors
from manager_app.console.page import page
from manager_app.console.pages.events import Thing
from manager_app.inputs import ClientsQuery
from myqueue.contract.errors import InvalidRequest, TopicDoesNotExist
from myqueue.contract.inputs import read_input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.http import HttpRequest

    from manager_app.selectors import ClientKind, ClientRow

PAGE_SIZE = 200
"""Clients of one page."""
KINDS: tuple[tuple[ClientKind, str], ...] = (("producer", "Producers"), ("consumer", "Consumers"))
STATES = (("alive", "Alive"), ("expired", "Expired"))


@dataclass(frozen=True, slots=True)
class Shown:
    """A client as the page shows it."""

    client_id: int
    topic: str
    state: str
    heard: datetime

    @property
    def topic_url(self) -> str:
        """The page of its topic; empty where it has none."""
        return Thing("topic", self.topic).url if self.topic else ""


@page("console/clients.html", title="Clients")
def clients(request: HttpRequest) -> dict[str, Any]:
    """List the registered producers, or consumers, by id."""
    given = request.GET
    kind = cast("ClientKind", given["kind"] if given.get("kind") == "consumer" else "producer")
    problem, found = "", None
    try:
        found = selectors.clients_list(kind, _asked(given))
    except (InvalidRequest, TopicDoesNotExist) as error:
        problem = error.message
    return {
        "rows": [_shown(row) for row in found.rows] if found else [],
        "next": found.next if found else None,
        "problem": problem,
        "asked": given,
        "kind": kind,
        "states": STATES,
        "is_filtered": bool(given.get("topic") or given.get("state")),
        "tabs": [(title, f"?kind={name}", name == kind) for name, title in KINDS],
    }


def _asked(given: Mapping[str, str]) -> ClientsQuery:
    """Return what is asked for.

    Raises:
        InvalidRequest: it cannot be.
    """
    names = ("topic", "state", "after")
    fields = {name: given[name].strip() for name in names if given.get(name)}
    return structs.replace(read_input(ClientsQuery, {}, fields), limit=PAGE_SIZE)


def _shown(row: ClientRow) -> Shown:
    """Return a client as this manager knows it, which hears of some before the database does."""
    state, heard = row.state, row.last_heartbeat
    present = runtime.installed()
    if present is not None:
        state = "expired" if present.clients.is_expired(row.key, row.state) else "alive"
        heard = present.clients.latest(row.key, row.last_heartbeat)
    return Shown(row.key.client_id, row.topic, state, heard)
