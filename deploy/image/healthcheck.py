"""Ask the server in this container whether it lives; exit status 1 when it does not answer.

Reads QUEUE_BIND_HOST, QUEUE_PORT and QUEUE_TLS_CERT as the server does, older spellings
included. Needs the standard library alone, since it starts every few seconds.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys

TIMEOUT_S = 2.0


def setting(name: str) -> str:
    """Return what the server is told; empty where nothing is."""
    return os.environ.get(f"QUEUE_{name}") or os.environ.get(name, "")


def is_alive(path: str = "/healthz") -> bool:
    """Tell whether this container's server answers a request with 200."""
    host, port = setting("BIND_HOST"), int(setting("PORT") or "8000")
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    connection: http.client.HTTPConnection
    if setting("TLS_CERT"):
        # It is asked for a sign of life, and sent nothing, so any certificate will do.
        unchecked = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=unchecked)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"{host}:{port}{path}: {error}\n")
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive() else 1)
