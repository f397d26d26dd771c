"""The rule that a process of the cluster shows its certificate with each call over HTTP.

Clients share the port and have none. So the server asks for one, checks it when there is one, and
this refuses calls with the cluster's token that came without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.exceptions import failure_response
from http_base.hotpaths import send_response
from http_base.tokens import bearer_of, is_cluster_token
from myqueue.contract.errors import UnauthorizedException

if TYPE_CHECKING:
    from http_base.hotpaths import App, Receive, Scope, Send

CERTIFICATE = "queuesite.certificate"
"""In the scope of a request: whether its connection showed a certificate of QUEUE_TLS_CA."""


class CertificateRule:
    """Refuses calls in the name of the cluster from who shows no certificate."""

    def __init__(self, app: App, secret: str) -> None:
        """Guard an application.

        Args:
            app: answers what is not refused.
            secret: of the cluster.
        """
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not scope.get(CERTIFICATE) and self._is_of_cluster(scope):
            error = UnauthorizedException(
                "a call in the name of the cluster needs a certificate of QUEUE_TLS_CA"
                " (QUEUE_TLS_CLIENT_CERTS)"
            )
            await send_response(failure_response(error), send)
            return
        await self._app(scope, receive, send)

    def _is_of_cluster(self, scope: Scope) -> bool:
        for name, value in scope.get("headers", ()):
            if name == b"authorization":
                token = bearer_of(value.decode("latin1"))
                if token is not None and is_cluster_token(self._secret, token):
                    return True
        return False
