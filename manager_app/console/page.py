"""What every page of the console has in common: who may see it, what its template finds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from http_base import guard
from http_base.access import ADMINISTER, CONSUMING, OPERATE, PRODUCING, VIEW, Need
from http_base.exceptions import to_failure
from http_base.guard import Caller
from http_base.writes import DATABASE_FAILURES
from manager_app import runtime
from manager_app.access_rows import holder_of_person
from manager_app.health.problems import sentence
from myqueue.contract.errors import Forbidden, QueueError, ReadOnlyManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    Context = dict[str, Any]

ASK_LIMIT_S = 2.0
"""For all that a page asks brokers; who has not answered by then is shown as unknown."""


@dataclass(frozen=True, slots=True)
class May:
    """What the person who looks at a page may do; what not is absent from it."""

    caller: Caller
    writable: bool
    """False on a manager that writes no metadata."""

    def have(self, need: Need) -> bool:
        """Tell whether the person has what is needed, whichever manager this is."""
        try:
            guard.require(self.caller, need, None)
        except Forbidden:
            return False
        return True

    @property
    def view(self) -> bool:
        """May read metadata."""
        return self.have(VIEW)

    @property
    def operate(self) -> bool:
        """May move, drain, rebalance, here and now."""
        return self.writable and self.have(OPERATE)

    @property
    def administer(self) -> bool:
        """May create, change and delete, here and now."""
        return self.writable and self.have(ADMINISTER)

    @property
    def publish(self) -> bool:
        """May publish messages."""
        return self.have(PRODUCING)

    @property
    def read_messages(self) -> bool:
        """May read messages."""
        return self.have(CONSUMING)


def may(request: HttpRequest) -> May:
    """Return what the person of a request may do."""
    known = getattr(request, "_may", None)
    if known is None:
        holder = holder_of_person(request.user)  # type: ignore[arg-type]  # logged in
        known = May(Caller(holder, by_session=True), writable=not why_read_only())
        request._may = known  # type: ignore[attr-defined]
    assert isinstance(known, May)
    return known


def why_read_only() -> str:
    """Return why nothing can be changed on this manager, in a sentence; empty where it can."""
    present = runtime.installed()
    if present is None:
        return ""
    try:
        present.require_primary()
    except ReadOnlyManager as error:
        where = error.details.get("primary") or present.metadata.current.primary_address
        kind = "read-only" if present.read_only else "a standby"
        there = f": use the console of the primary at {where}" if where else ""
        return f"This manager is {kind}, and changes nothing{there}."
    return ""


def health() -> tuple[str, str]:
    """Return (severity, sentence) of how the cluster is, as this manager saw it last."""
    present = runtime.installed()
    if present is None or present.watch.looked_s is None:
        return "plain", "Not looked at yet"
    return sentence(present.watch.facts, present.watch.problems)


def page(
    template: str, *, title: str = "", needs: Need = VIEW
) -> Callable[[Callable[..., Context | HttpResponse]], Callable[..., HttpResponse]]:
    """Make a view of the console from a function that returns what its template shows.

    Args:
        template: the template's name, as `console/brokers.html`.
        title: of the page; the function may return another one under `title`.
        needs: what one has to have to see it.
    """

    def decorate(view: Callable[..., Context | HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def answer(request: HttpRequest, **parts: Any) -> HttpResponse:
            if (turned_away := turn_away(request)) is not None:
                return turned_away
            try:
                guard.require(may(request).caller, needs, None)
                shown = view(request, **parts)
            except (QueueError, *DATABASE_FAILURES) as error:
                return refuse(request, error)
            if isinstance(shown, HttpResponse):
                return shown
            return render(request, template, {"title": title, **shown})

        answer.needs = needs  # type: ignore[attr-defined]  # for the test of who may see it
        return answer

    return decorate


def turn_away(request: HttpRequest) -> HttpResponse | None:
    """Return where people go that have not logged in; None: they have."""
    if admin.site.has_permission(request):
        return None
    if is_refresh(request):
        return HttpResponse(status=401, headers={"HX-Refresh": "true"})
    return redirect_to_login(request.get_full_path(), reverse("admin:login"))


def asks_for_day(request: HttpRequest) -> bool:
    """Tell whether charts are to show the last day, and not the last hour."""
    return request.GET.get("over") == "day"


def is_refresh(request: HttpRequest) -> bool:
    """Tell whether htmx asks for the live part of a page again."""
    return request.headers.get("HX-Request") == "true"


def refuse(request: HttpRequest, error: BaseException) -> HttpResponse:
    """Answer with a page that says what failed, under the status that the API would give."""
    failure = to_failure(error, method=request.method or "GET", path=request.path)
    return render(
        request,
        "console/refused.html",
        {
            "title": "That cannot be shown" if request.method == "GET" else "That cannot be done",
            "failure": failure,
        },
        status=failure.http_status,
    )


def render(
    request: HttpRequest, template: str, context: Context, *, status: int = 200
) -> TemplateResponse:
    """Return a page with what all pages of the admin show around it."""
    refresh = is_refresh(request)
    around = {} if refresh else admin.site.each_context(request)
    request.current_app = admin.site.name
    shown = {
        **around,
        "base": "console/live.html" if refresh else "console/page.html",
        "may": may(request),
        "health": health(),
        "read_only": why_read_only(),
        **context,
    }
    headers = {"Cache-Control": "no-store", "Vary": "HX-Request"}
    return TemplateResponse(request, template, shown, status=status, headers=headers)
