"""TLS of a process: what it shows to those who connect, whom it trusts, and who must prove itself.

One certificate serves HTTP and the Raft port, and is shown where another process asks for one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.tls import calling_context

if TYPE_CHECKING:
    from pathlib import Path

PLAIN_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b"
)
_PLAIN_BODY = (
    b'{"status":"failure","code":"INVALID_REQUEST","message":"this port speaks TLS: its address'
    b' begins with https://"}'
)
_NO_TLS = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"})
"""OpenSSL's names for a first message that is plain HTTP."""


class TlsError(Exception):
    """Certificate, key or authorities cannot be used; one clear line says why."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What the connections of a process are secured with."""

    calling: ssl.SSLContext
    """For connections to others: HTTP and Raft."""
    serving: ssl.SSLContext | None = None
    """For HTTP connections from others; None: HTTP and Raft are not encrypted here."""
    peers: ssl.SSLContext | None = None
    """For Raft connections from others; there is one with `serving`, and only then."""
    asks_certificates: bool = False
    """Whether other processes must show a certificate of the authorities. A client need not: it
    shares the HTTP port with them, and is asked for its token alone."""


class _HttpSide(ssl.SSLObject):
    """The server's side of one HTTP connection, which answers those who speak without TLS."""

    def do_handshake(self) -> None:
        """Shake hands; tell a client without TLS what to do, in its language."""
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason not in _NO_TLS:
                raise
            self.outgoing.write(PLAIN_REFUSAL % (len(_PLAIN_BODY), _PLAIN_BODY))
            # What waits to be sent is sent before more is read; the client closes, or time is over.
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "nothing more is read") from error

    outgoing: ssl.MemoryBIO


class _HttpContext(ssl.SSLContext):
    """Settings of a server's connections, each an `_HttpSide`."""

    sslobject_class = _HttpSide

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any
    ) -> _HttpSide:
        """Return one side of a connection."""
        side = super().wrap_bio(incoming, outgoing, *args, **kwargs)
        assert isinstance(side, _HttpSide), "sslobject_class says so"
        side.outgoing = outgoing
        return side


@lru_cache(maxsize=4)
def tls_of(cert: Path | None, key: Path | None, ca: Path | None, *, asks: bool) -> Tls | None:
    """Return the TLS of a process; None where it has neither certificate nor authorities.

    The files are read once and never written.

    Args:
        cert: certificate of the process, in PEM, then those between it and its authority.
        key: private key of `cert`, in PEM, not encrypted.
        ca: authorities whose certificates other processes have, in PEM; None: the system's.
        asks: whether other processes must show one.

    Raises:
        TlsError: a file cannot be used.
    """
    if cert is None and ca is None:
        return None
    try:
        calling = calling_context("" if ca is None else str(ca))
    except InvalidRequest as error:
        raise TlsError(f"QUEUE_TLS_CA: {error.message}") from error
    if cert is None or key is None:
        return Tls(calling)
    _load(calling, cert, key)
    peers = _accepting(ssl.SSLContext, cert, key)
    serving = _accepting(_HttpContext, cert, key)
    if asks:
        for context, need in ((peers, ssl.CERT_REQUIRED), (serving, ssl.CERT_OPTIONAL)):
            context.load_verify_locations(cafile=ca)
            context.verify_mode = need
    return Tls(calling, serving, peers, asks)


def _accepting(kind: type[ssl.SSLContext], cert: Path, key: Path) -> ssl.SSLContext:
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load(context, cert, key)
    return context


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Take certificate and key.

    Raises:
        TlsError: one cannot be read, or they do not belong together.
    """
    for name, path in (("QUEUE_TLS_CERT", cert), ("QUEUE_TLS_KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsError(f"{name}: {path} cannot be read: {error.strerror}") from error
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except _EncryptedKey as error:
        raise TlsError(f"QUEUE_TLS_KEY: {key} is encrypted; nobody is there to ask") from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(
                f"QUEUE_TLS_KEY: {key} is not the key of QUEUE_TLS_CERT, {cert}"
            ) from error
        raise TlsError(
            f"QUEUE_TLS_CERT, QUEUE_TLS_KEY: {cert} or {key} is no PEM: {error.reason}"
        ) from error


class _EncryptedKey(Exception):
    """A key wants a password."""


def _refuse_password() -> NoReturn:
    raise _EncryptedKey
