"""People who logged in, as callers of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import CSRFCheck

from http_base.guard import Caller
from manager_app.access_rows import holder_of_person
from myqueue.contract.errors import Forbidden

if TYPE_CHECKING:
    from django.http import HttpRequest

_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


def person_of(request: HttpRequest) -> Caller | None:
    """Return who has logged in; None: nobody. Reads the database.

    Args:
        request: that passed Django's middleware.

    Raises:
        Forbidden: the call changes something, and it is not shown that the person wanted it.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_active:
        return None
    if request.method not in _SAFE:
        _require_csrf(request)
    return Caller(holder_of_person(user), by_session=True)


def _require_csrf(request: HttpRequest) -> None:
    check = CSRFCheck(lambda _: None)  # type: ignore[arg-type]  # nothing comes after
    check.process_request(request)
    reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]  # as DRF does
    if reason:
        raise Forbidden(f"CSRF: {reason}")
