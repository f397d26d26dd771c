"""The one mechanism of an action: right checked, asked first, done, written down, said, sent back.

A GET shows what the action will do, and the fields of its form if it has one; nothing happens. A
POST with `confirmed` does it. An action with a form is asked in two steps: the first POST shows
what it will do with what was filled in. No step needs JavaScript.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from http_base import guard
from http_base.access import OPERATE, Need
from http_base.exceptions import to_failure
from http_base.writes import DATABASE_FAILURES, write_watch
from manager_app import runtime
from manager_app.console.page import may, refuse, render, turn_away, why_read_only
from manager_app.models import Cluster, Event, EventKind, EventOutcome
from manager_app.services.events import about_all, event_store, objects_of
from myqueue.contract.errors import QueueError, ReadOnlyManager

if TYPE_CHECKING:
    from django import forms
    from django.http import HttpRequest

    from manager_app.runtime import ManagerRuntime

logger = logging.getLogger(__name__)

DETAIL_LENGTH_MAX = 200
"""Characters of a value that the logs keep; secrets are no fields of an action."""


@dataclass(frozen=True)
class Asked:
    """What a person asks for."""

    request: HttpRequest
    parts: dict[str, Any]
    """Of the URL."""
    data: dict[str, Any] = field(default_factory=dict)
    """What was filled into the form, cleaned."""

    @property
    def manager(self) -> ManagerRuntime:
        """The manager that does it."""
        return runtime.current()


class Action:
    """Something that a person can do; a subclass says what and how, and `urls.py` where.

    Texts may name parts of the URL: `"Drain broker {broker_id}"`.
    """

    needs: ClassVar[Need] = OPERATE
    """What one has to have; without it the button is absent and the URL answers 403."""
    title: ClassVar[str]
    """What will be done, as a heading."""
    button: ClassVar[str]
    """The verb on the button."""
    subject: ClassVar[str]
    """What it is done to, in the logs: `"broker {broker_id}"`."""
    back: ClassVar[str]
    """Name of the page that comes next, as `console:brokers`."""
    icon: ClassVar[str] = ""
    """Name of a Material symbol for the button."""
    is_danger: ClassVar[bool] = False
    """True when something may be lost."""
    typed: ClassVar[str] = ""
    """What has to be typed to confirm, as `"{topic}"`; empty: nothing."""
    form: ClassVar[type[forms.Form] | None] = None
    """Fields that are to be filled in first."""
    previews: ClassVar[bool] = True
    """False when the form says all that there is to say: then its first POST does it."""
    writes_metadata: ClassVar[bool] = True
    """False when any manager can do it, as publishing a message."""

    kind: ClassVar[EventKind] = EventKind.ACTION
    """Of its event."""
    stores_event: ClassVar[bool] = True
    """False where the service that does it stores the event itself."""

    def says(self, asked: Asked) -> list[str]:
        """Return what will be done, in sentences; reads only."""
        return []

    def preview(self, asked: Asked) -> dict[str, Any]:
        """Return variables for `preview_template`; reads only."""
        return {}

    preview_template: ClassVar[str] = ""
    """Shown under the sentences, as a table of what changes."""

    template: ClassVar[str] = "console/confirm.html"
    """Of the page that asks."""
    unlogged: ClassVar[frozenset[str]] = frozenset()
    """Fields of the form that the logs do not keep, as what is in a message."""

    def around(self, asked: Asked) -> dict[str, Any]:
        """Return what else the page that asks shows, as tabs."""
        return {}

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return what the form's fields begin with."""
        return {}

    def do(self, asked: Asked) -> str:
        """Do it by a service; return what was done, in a sentence.

        Raises:
            QueueError: it was refused, or failed; `outcome` says whether that is known.
        """
        raise NotImplementedError

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the parts of the URL of `back`."""
        return {}

    def next_url(self, asked: Asked) -> str:
        """Return where people go once it is done."""
        return reverse(self.back, kwargs=self.back_parts(asked))

    @classmethod
    def is_shown(cls, request: HttpRequest) -> bool:
        """Tell whether the person may do it on this manager."""
        person = may(request)
        return person.have(cls.needs) and (person.writable or not cls.writes_metadata)

    @classmethod
    def view(cls, request: HttpRequest, **parts: Any) -> HttpResponse:
        """Answer a request for the action."""
        if (turned_away := turn_away(request)) is not None:
            return turned_away
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        try:
            guard.require(may(request).caller, cls.needs, None)
            if cls.writes_metadata and (why := why_read_only()):
                raise ReadOnlyManager(why)
            return cls()._answer(request, parts)
        except (QueueError, *DATABASE_FAILURES) as error:
            return refuse(request, error)

    def _answer(self, request: HttpRequest, parts: dict[str, Any]) -> HttpResponse:
        is_post = request.method == "POST"
        asked = Asked(request, parts)
        form = None
        if self.form is not None:
            initial = self.initial(asked)
            form = (
                self.form(request.POST, request.FILES, initial=initial)
                if is_post
                else self.form(initial=initial)
            )
            if not is_post or not form.is_valid():
                return self._ask(asked, form, filled=False, status=400 if is_post else 200)
            asked = Asked(request, parts, form.cleaned_data)
        confirmed = is_post and (
            "confirmed" in request.POST or (form is not None and not self.previews)
        )
        if not confirmed:
            return self._ask(asked, form, filled=form is not None)
        wanted = self.typed.format(**parts)
        if wanted and request.POST.get("typed", "") != wanted:
            problem = f"Type {wanted} to confirm; nothing was done."
            return self._ask(asked, form, filled=True, status=400, problem=problem)
        return self._do(asked, form)

    def _do(self, asked: Asked, form: forms.Form | None) -> HttpResponse:
        with write_watch() as writes:
            try:
                said = self.do(asked)
            except (QueueError, *DATABASE_FAILURES) as error:
                failure = to_failure(writes.judge(error), method="POST", path=asked.request.path)

                known = failure.outcome_known
                became = EventOutcome.REFUSED if known else EventOutcome.UNKNOWN
                self._write_down(asked, became, failure.message)
                problem = failure.message if known else _unknown(failure.message)
                filled, status = form is None or self.previews, failure.http_status
                named = failure.details.get("field")
                if form is not None and named in form.fields:
                    form.add_error(named, problem)
                    filled, problem = False, ""
                return self._ask(asked, form, filled=filled, status=status, problem=problem)
        self._write_down(asked, EventOutcome.DONE, said)
        messages.success(asked.request, said)
        return HttpResponseRedirect(self.next_url(asked))

    def _ask(
        self,
        asked: Asked,
        form: forms.Form | None,
        *,
        filled: bool,
        status: int = 200,
        problem: str = "",
    ) -> HttpResponse:
        """Show the form, or what will be done with what was filled in."""
        shows_plan = form is None or filled
        context = {
            "title": self.title.format(**asked.parts),
            "action": self,
            "form": form,
            "shows_plan": shows_plan,
            "says": self.says(asked) if shows_plan else [],
            "typed": self.typed.format(**asked.parts) if shows_plan else "",
            "problem": problem,
            "back_url": reverse(self.back, kwargs=self.back_parts(asked)),
            "does": shows_plan or not self.previews,
        }
        context |= self.around(asked)
        if shows_plan:
            context |= self.preview(asked)
        return render(asked.request, self.template, context, status=status)

    def _write_down(self, asked: Asked, outcome: EventOutcome, said: str) -> None:
        """Store in the admin log and among the events what became of it.

        What was done stays done when that cannot be stored: then the log of the process says so.
        """
        try:
            with transaction.atomic():
                self._store(asked, outcome, said)
        except DATABASE_FAILURES as error:
            logger.warning("nothing stored says that %s was %s: %s", self.button, outcome, error)

    def _store(self, asked: Asked, outcome: EventOutcome, said: str) -> None:
        user: Any = asked.request.user
        subject = self.subject.format(**asked.parts)[:DETAIL_LENGTH_MAX]
        name = type(self).__name__
        logger.info("the user %r: %s, %s: %s", user.get_username(), name, subject, outcome)
        LogEntry.objects.create(
            user_id=user.pk,
            content_type_id=ContentType.objects.get_for_model(Cluster).pk,
            object_id=subject,
            object_repr=subject,
            action_flag=CHANGE,
            change_message=f"{self.button}: {outcome}. {said}",
        )
        if not self.stores_event:
            return
        event = Event(
            kind=self.kind,
            action=self.button.lower(),
            text=said if outcome == EventOutcome.DONE else f"{self.button} {subject}: {said}",
            about=about_all(objects_of({**asked.data, **asked.parts})),
            person=f"user {user.get_username()!r}",
            origin=str(asked.request.META.get("REMOTE_ADDR", "")),
            outcome=outcome,
        )
        filled = {
            key: str(value)[:DETAIL_LENGTH_MAX]
            for key, value in asked.data.items()
            if key not in self.unlogged
        }
        event_store(event, **({"asked": filled} if filled else {}))


def _unknown(message: str) -> str:
    return f"Whether that was done is not known: {message}. Look before you try again."
