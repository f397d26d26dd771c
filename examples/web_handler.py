"""A web application that takes orders: 202 once an order is on a quorum of disks, else 503.

The producer is made when the application starts, which works without a cluster too, and a request
waits two seconds at most. Any WSGI server runs it: `gunicorn examples.web_handler:application`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from myqueue import ClientConfig, Producer, QueueError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

IMPATIENT = ClientConfig(delivery_timeout_ms=2_000, manager_timeout_ms=2_000)


class Shop:
    """The application.

    Args:
        address: of a manager; MYQUEUE_ADDRESS when left out.
    """

    def __init__(self, address: str | None = None) -> None:
        self._producer = Producer(
            "orders", address, config=IMPATIENT, serializer="json", connect="lazy"
        )

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Take one order."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            order = json.loads(body)
            place = self._producer.enqueue("orders", order, key=str(order["customer"]))
        except (ValueError, KeyError, TypeError):
            return _answer(start, "400 Bad Request", {"error": "an order has a customer"})
        except QueueError as error:
            # With an unknown outcome it may be stored: whoever sends it again says so.
            told = {"error": error.code, "may_be_stored": not error.outcome_known}
            return _answer(start, "503 Service Unavailable", told)
        return _answer(start, "202 Accepted", {"partition": place.partition, "id": place.offset})

    def close(self) -> None:
        """Deliver what waits; for the end of the server."""
        self._producer.close()


def _answer(start: StartResponse, status: str, body: object) -> Iterable[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


def make_application() -> Shop:
    """Return the application for a cluster that the environment names."""
    return Shop()


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", 8080, make_application()).serve_forever()
