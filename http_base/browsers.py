"""What keeps pages of others from using somebody's browser against this server.

A browser sends requests for any page that somebody looks at, also to this machine. A page may let
its own name lead here (DNS rebinding): its requests carry that name as Host. Or it may post a form
or ask for an image: then the browser names the page in the header Origin, or says in another that
it is a foreign one. Programs send neither, and the Host that they were given.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

from myqueue.contract.errors import Forbidden, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of requests that a link to a page may make."""
FOREIGN_SITES = (b"cross-site", b"same-site")
"""What a browser says of a request that another page makes, also one of another port here."""
HOSTS_KEPT_MAX = 1_000
HOST_LENGTH_MAX = 260
"""Of a Host that is kept: no longer one has a name and a port."""


class BrowserRules:
    """Judges requests by what browsers say of them."""

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], calls: Container[str]) -> None:
        """Know what is ours.

        Args:
            hosts: names and addresses under which this server is asked for, as in
                QUEUE_ALLOWED_HOSTS.
            origins: hosts of pages that may write here besides those of the request's own Host, as
                behind a proxy that rewrites it.
            calls: paths of calls that even a GET does something by, as a pop does.
        """
        self._hosts = hosts
        self._origins = origins
        self._calls = calls
        self.known_hosts: set[bytes | None] = {None}
        """Host headers that were judged already; None: there was none."""

    def require_own(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
        """Refuse a request that a page of others makes.

        Args:
            scope: of ASGI.
            headers: `host`, `origin` and `sec-fetch-site` among them.

        Raises:
            InvalidRequest: its Host is none of this server.
            Forbidden: it comes from a foreign page.
        """
        self._require_host(headers.get(b"host"))
        method, path = scope["method"], scope["path"]
        if method in READING and path not in self._calls:
            return
        origin = headers.get(b"origin")
        if origin is not None:
            is_foreign = not self._is_own(origin, headers.get(b"host", b""))
        else:
            is_foreign = headers.get(b"sec-fetch-site") in FOREIGN_SITES
        if is_foreign:
            raise Forbidden(
                "a page of another origin makes this request; if it may, name its host in"
                " QUEUE_ALLOWED_HOSTS"
            )

    def _require_host(self, host: bytes | None) -> None:
        if host in self.known_hosts:
            return
        domain, _ = split_domain_port((host or b"").decode("latin1"))
        if not (domain and (_is_local(domain) or validate_host(domain, self._hosts))):
            raise InvalidRequest(
                f"the Host {(host or b'').decode('latin1')[:260]!r} is none of this server;"
                " name it in QUEUE_ALLOWED_HOSTS"
            )
        if len(self.known_hosts) < HOSTS_KEPT_MAX and len(host or b"") <= HOST_LENGTH_MAX:
            self.known_hosts.add(host)

    def _is_own(self, origin: bytes, host: bytes) -> bool:
        try:
            parts = urlsplit(origin.decode("latin1"))
            name = parts.hostname or ""
        except ValueError:
            return False
        if parts.netloc and parts.netloc.lower().encode("latin1") == host.lower():
            return True
        return bool(name) and validate_host(name, self._origins)


def _is_local(domain: str) -> bool:
    """Tell whether nobody elsewhere can let a host lead here: an address, or a name without dots.

    Such a name is given by this machine or its network alone, as those of containers are.
    """
    try:
        ip_address(domain.strip("[]"))
    except ValueError:
        return "." not in domain
    return True
