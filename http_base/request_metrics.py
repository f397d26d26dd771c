"""How many requests there were and how long they took, by operation and by what came out."""

from __future__ import annotations

import re
import threading
from time import perf_counter
from typing import TYPE_CHECKING

from http_base.families import histogram_by
from http_base.histogram import Histogram
from http_base.request_marks import CURRENT

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OK = "ok"
"""The code of a success; a failure has its error's."""
OPERATIONS_MAX = 1_000
"""Operations and codes that are told apart: more than there are, so that a mistake costs little."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = ("other", "", "other")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def seconds_since(begun_s: float) -> float:
    """Return for how long a request has been worked on, its waits for messages left out.

    Args:
        begun_s: `perf_counter` when it was whole.
    """
    mark = CURRENT.get()
    return perf_counter() - begun_s - (mark.waited_s if mark else 0.0)


class RequestTimes(dict[tuple[str, str, str], Histogram]):
    """(Method, path, code) -> seconds from when a request was whole until its answer was.

    Operations that are coroutines are counted in the event loop; `add` is for views in threads,
    which are other ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __missing__(self, key: tuple[str, str, str]) -> Histogram:
        """Begin to count for an operation and code."""
        if len(self) >= OPERATIONS_MAX and key != _OTHER:
            return self[_OTHER]
        return self.setdefault(key, Histogram())

    def add(self, method: str, route: str, code: str, seconds: float) -> None:
        """Count a request that a view answered.

        Args:
            method: of HTTP.
            route: as Django's URLconf has it, or a path without parameters.
            code: `OK`, or the error's.
            seconds: until it was answered.
        """
        path = _PARAMETER.sub(r"{\1}", route)
        key = (method if method in _METHODS else "other", f"/{path.removeprefix('/')}", code)
        with self._lock:
            self[key].add(seconds)

    def family(self) -> Metric:
        """Return the metric."""
        return histogram_by(
            "queue_http_request_seconds",
            "Time from a whole request to its answer, without waits for messages",
            ["operation", "code"],
            [
                ((f"{method} {path}".strip(), code), histogram)
                for (method, path, code), histogram in sorted(self.items())
            ],
        )


REQUEST_TIMES = RequestTimes()
"""Of this process."""
