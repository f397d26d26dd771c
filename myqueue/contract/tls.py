"""TLS of whoever calls: whom it trusts, and what a failure means in words."""

from __future__ import annotations

import ssl
from functools import lru_cache

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.http1 import CA_VARIABLE

_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"}
)
"""OpenSSL's names for an answer that is not TLS."""


@lru_cache(maxsize=8)
def calling_context(ca: str) -> ssl.SSLContext:
    """Return what connections to servers are made with: TLS 1.2 at least, certificates checked.

    Args:
        ca: file of the authorities to trust, in PEM; those of the system when empty.

    Raises:
        InvalidRequest: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as error:
        said = "it has no certificate in PEM"
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            said = error.strerror or str(error)
        raise InvalidRequest(
            f"the authorities in {ca} cannot be read: {said}", field="ca"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def describe_failure(error: OSError) -> str:
    """Return why a connection with TLS failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted, {error.verify_message}; the authorities to trust are"
            f" named by {CA_VARIABLE} or `ca` (in a server QUEUE_TLS_CA)"
        )
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return "it does not speak TLS here: its address begins with http://"
    return str(error) or type(error).__name__
