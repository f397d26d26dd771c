"""Routes of the HTTP servers that stand in for a broker or a manager."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


def through(
    edge: Callable[[Any, web.Request], Awaitable[web.StreamResponse]],
    routes: Iterable[web.RouteDef],
) -> list[web.RouteDef]:
    """Return the routes with `edge(handler, request)` around each handler.

    A middleware of aiohttp would do the same, but aiohttp remembers the last thousand handlers that
    had one, and with them the whole of each server.
    """
    return [
        web.RouteDef(route.method, route.path, partial(edge, route.handler), route.kwargs)
        for route in routes
    ]
