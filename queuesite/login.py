"""Log-ins of people: guesses of a password are slowed down, by address and by name.

The back end is where all ways to log in with a password meet; the middleware turns its refusal
into an answer.
"""

from __future__ import annotations

import logging
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpResponse
from prometheus_client import Counter

from http_base.throttle import Places, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

NAME_LENGTH_MAX = 150
"""Of a name that is remembered: longer than any that there is, it is no more memory."""
LOGINS_REFUSED = Counter(
    "queue_manager_logins_refused", "Log-ins that had to wait after wrong ones"
)
LOGINS_FAILED = Counter("queue_manager_logins_failed", "Log-ins with a wrong name or password")
THROTTLE = Throttle()
PLACES = Places()
"""Names with the networks from which they logged in: who guesses elsewhere does not hold them up.
"""
NETWORK_BITS = 64
"""Of an address of IP version 6 that count: whoever has one has all that begin so."""


class TooManyLogins(Exception):
    """Wrong log-ins came before; the next one has to wait."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many wrong log-ins; try again in {wait_s} s")
        self.wait_s = wait_s


class ThrottledBackend(ModelBackend):
    """Django's own, which looks at no password before its time."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return who logs in; None when name or password is wrong.

        Raises:
            TooManyLogins: this address, or somebody with this name, was wrong too often.
        """
        if username is None or password is None:
            return None
        address = "" if request is None else str(request.META.get("REMOTE_ADDR", ""))
        keys, place = [f"name {username[:NAME_LENGTH_MAX]}"], ""
        if address:
            network = network_of(address)
            place = f"{keys[0]} at {network}"
            keys = [place if place in PLACES else keys[0], f"address {network}"]
        if wait_s := THROTTLE.begin(keys):
            LOGINS_REFUSED.inc()
            raise TooManyLogins(wait_s)
        user = super().authenticate(request, username, password, **kwargs)
        if user is None:
            LOGINS_FAILED.inc()
            logger.warning("a log-in from %s failed", address or "this process")
        else:
            THROTTLE.succeed(keys)
            if place:
                PLACES.add(place)
        return user


def network_of(address: str) -> str:
    """Return what all addresses have in common that one client has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Network((int(found), NETWORK_BITS), strict=False))
    return address


class LoginThrottle:
    """Answers 429 where a log-in has to wait."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Stand before the views."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        return self._get_response(request)

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the answer to a log-in that came too early."""
        if not isinstance(error, TooManyLogins):
            return None
        return HttpResponse(
            f"{error}\n",
            status=429,
            content_type="text/plain; charset=utf-8",
            headers={"Retry-After": str(error.wait_s)},
        )
