"""Events of what is asked for through the API, and that every change of it has one."""

from __future__ import annotations

import logging
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction

from http_base.writes import DATABASE_FAILURES
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.proxy.primary import speaker_of
from manager_app.services.events import OBJECTS, about_all, event_store, person_named
from myqueue.contract.errors import OUTCOME_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rest_framework.response import Response

    from http_base.views import ApiRequest

logger = logging.getLogger(__name__)

DETAIL_LENGTH_MAX = 2_000
"""Of a text that a call sent: longer ones are left out of the event."""
REFUSALS_MAX = 30
REFUSALS_WINDOW_S = 60.0
"""So many refused calls become events in so many seconds, of all that this process refuses."""
ALREADY_REPORTED = HTTPStatus.ALREADY_REPORTED
"""The lowest status of a call that changed nothing."""


class Act(NamedTuple):
    """What one handler changes, in an event's words."""

    kind: EventKind
    action: str


class Refusals:
    """Lets some of many refusals through in each window of time; any thread may ask."""

    def __init__(self) -> None:
        """Have let none through yet."""
        self._lock = threading.Lock()
        self._begun_s = float("-inf")
        self._count = 0

    def take(self, now_s: float) -> int | None:
        """Return how many were left out since the last that was let through; None: leave this out.

        Args:
            now_s: monotonic time.
        """
        with self._lock:
            left_out = 0
            if now_s - self._begun_s >= REFUSALS_WINDOW_S:
                left_out = max(0, self._count - REFUSALS_MAX)
                self._begun_s, self._count = now_s, 0
            self._count += 1
            return left_out if self._count <= REFUSALS_MAX else None


_refusals = Refusals()


def configures(action: str) -> Act:
    """Return an act that changes topics."""
    return Act(EventKind.CONFIGURATION, action)


def operates(action: str) -> Act:
    """Return an act that has the cluster do something."""
    return Act(EventKind.ACTION, action)


def note_act(act: Act, request: ApiRequest, response: Response, parts: Mapping[str, Any]) -> None:
    """Store the event of a call that was answered; one that surely changed nothing is none.

    What was done stays done when the event cannot be stored: then the log says so.

    Args:
        act: what the call does.
        request: the call.
        response: its answer, whose data are not rendered yet.
        parts: of the path, by name.
    """
    said = response.data
    outcome = _outcome_of(response.status_code, said)
    if outcome is None:
        return
    message = said.get("message", "") if isinstance(said, dict) else getattr(said, "message", "")
    event = Event(
        kind=act.kind,
        action=act.action,
        text=message if outcome == EventOutcome.DONE and message else _text(act, parts, message),
        about=about_all(_objects(parts, said)),
        person=person_named(request.caller),
        origin=speaker_of(request),
        outcome=outcome,
        details={"asked": _asked(request)} if outcome == EventOutcome.DONE else {},
    )
    _store(event)


def note_refusal(
    act: Act, request: ApiRequest, response: Response, parts: Mapping[str, Any]
) -> None:
    """Store the event of a change that whoever asked for may not make, unless there are too many.

    Args:
        act: what the call would have done.
        request: the call.
        response: its answer, whose data are not rendered yet.
        parts: of the path, by name.
    """
    left_out = _refusals.take(time.monotonic())
    if left_out is None:
        return
    said = response.data.get("message", "") if isinstance(response.data, dict) else ""
    event = Event(
        kind=EventKind.ACCESS,
        action=act.action,
        text=f"{request.method} {request.path} was refused: {said}",
        about=about_all(_objects(parts, None)),
        origin=request.client_address,
        outcome=EventOutcome.REFUSED,
        details={"left_out": left_out} if left_out else {},
    )
    _store(event)


def _store(event: Event) -> None:
    """Store an event; where that fails the log says so."""
    try:
        with transaction.atomic():
            event_store(event)
    except DATABASE_FAILURES as error:
        logger.warning("no event says that there was %s: %s", event.action, error)


def _outcome_of(status: int, said: object) -> EventOutcome | None:
    if status < ALREADY_REPORTED:
        return EventOutcome.DONE
    is_unknown = isinstance(said, dict) and said.get("outcome") == OUTCOME_UNKNOWN
    return EventOutcome.UNKNOWN if is_unknown else None


def _text(act: Act, parts: Mapping[str, Any], message: str) -> str:
    named = " ".join(str(part) for part in parts.values())
    said = f"{act.action[:1].upper()}{act.action[1:]}"
    return f"{said}{f' {named}' if named else ''}{f': {message}' if message else ''}"


def _objects(parts: Mapping[str, Any], said: object) -> Iterator[tuple[str, object]]:
    for field, kind in OBJECTS.items():
        name = parts.get(field, getattr(said, field, None))
        if name is not None:
            yield kind, name


def _asked(request: ApiRequest) -> dict[str, Any]:
    """Return the fields of a call, without tokens and what is long."""
    data = request.data
    if not isinstance(data, dict):
        return {}
    return {
        str(name): value
        for name, value in data.items()
        if name != "token" and len(repr(value)) <= DETAIL_LENGTH_MAX
    }
