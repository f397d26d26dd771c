"""A call of the API, however it came, and the operations that answer calls.

An operation is a function over a `Call`: it reads its input, checks who calls, and makes one call
of a service. `ApiView` serves it to browsers, the documentation and whoever negotiates,
`http_base.direct` serves the same one without Django where nothing is to be negotiated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec
from django.conf import settings

from http_base import tokens
from http_base.access import API_TOKEN_PREFIX
from http_base.negotiation import decode_body
from myqueue.contract.errors import InvalidRequest, UnauthorizedException
from myqueue.contract.http1 import ORIGIN_HEADER
from myqueue.contract.inputs import BATCH, JSON, MSGPACK, read_input

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY_FIELDS_MAX = 100
"""Most parameters in a query string."""
INT64_MAX = (1 << 63) - 1
REMEMBERED_QUERIES = 1_024
"""Queries of record batches whose input is remembered: a producer repeats its own."""
REMEMBERED_QUERY_LENGTH_MAX = 1_024

_MSGPACK, _BATCH = MSGPACK.encode(), BATCH.encode()
_ORIGIN = ORIGIN_HEADER.lower().encode()
_PLAIN = frozenset({b"", b"*/*", JSON.encode(), _MSGPACK, _BATCH})
"""What is asked for without anything to weigh."""
_NOT_READ: Any = object()

_T = TypeVar("_T", bound=msgspec.Struct)


class Call(Protocol):
    """A request as an operation sees it."""

    @property
    def data(self) -> Any:
        """The decoded body; `bytes` for a record batch; {} when it is empty.

        Raises:
            QueueError: it is too large, of an unknown type or malformed.
        """

    @property
    def query_string(self) -> str:
        """As it came, percent-encoded."""

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer ...`; None without one."""

    @property
    def client_address(self) -> str:
        """Where the connection comes from, without the port; empty when that is not known."""

    @property
    def told_origin(self) -> str:
        """What the call says of whom it is passed on for; empty when it does not; see `origin_of`.

        Everybody can say that.
        """

    @property
    def takes_msgpack(self) -> bool:
        """True when the answer is MessagePack, which takes texts and bytes as they are."""

    @property
    def takes_batches(self) -> bool:
        """True when the answer should be record batches as stored."""


class StoredBatches(NamedTuple):
    """A success whose body are record batches as stored."""

    body: bytes
    headers: Mapping[str, str]


Operation = Callable[[Call], Awaitable[msgspec.Struct | StoredBatches]]
"""Answers a call with a success, or raises a `QueueError`. It never blocks."""
Answered = Callable[["msgspec.Struct | BaseException"], None]
"""Is given the answer of a call, or the error."""
AtOnce = Callable[["Call", Answered], bool]
"""Does what an operation does without being a coroutine, and tells the answer as soon as there is
one. Returns False, or raises a `QueueError`, when nothing was done: the operation then decides."""


class CallHead(NamedTuple):
    """What a `DirectCall` knows before its body: the same for all requests with the same head."""

    query_string: str
    bearer: str | None
    told_origin: str
    takes_msgpack: bool
    takes_batches: bool
    content_type: str


def head_of(query_string: str, headers: Mapping[bytes, bytes]) -> CallHead:
    """Read the headers that matter.

    Args:
        query_string: as it came.
        headers: by name in lower case, each of them once.
    """
    accept = headers.get(b"accept")
    return CallHead(
        query_string,
        bearer=tokens.bearer_of(headers.get(b"authorization", b"").decode("latin1")),
        told_origin=headers.get(_ORIGIN, b"").decode("latin1"),
        takes_msgpack=accept == _MSGPACK,
        takes_batches=accept == _BATCH,
        content_type=headers.get(b"content-type", b"").decode("latin1"),
    )


class DirectCall:
    """A request without content negotiation, read without Django; see `Call`."""

    __slots__ = (
        "_body",
        "_data",
        "bearer",
        "begun_s",
        "client_address",
        "content_type",
        "query_string",
        "takes_batches",
        "takes_msgpack",
        "told_origin",
    )

    def __init__(self, head: CallHead, body: bytes, *, client_address: str = "") -> None:
        """Begin to answer a request.

        Args:
            head: what is known of it.
            body: whole.
            client_address: where the connection comes from.
        """
        self.begun_s = perf_counter()
        (
            self.query_string,
            self.bearer,
            self.told_origin,
            self.takes_msgpack,
            self.takes_batches,
            self.content_type,
        ) = head
        self.client_address = client_address
        self._body = body
        self._data: Any = _NOT_READ

    @staticmethod
    def is_plain(headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a request with these headers needs no content negotiation."""
        return headers.get(b"accept", b"") in _PLAIN

    @property
    def data(self) -> Any:
        """The decoded body."""
        if self._data is _NOT_READ:
            self._data = decode_body(self._body, self.content_type)
        return self._data


def read_call(call: Call, input_type: type[_T]) -> _T:
    """Return the input of a call, from its body and its query string; the query wins.

    Of a call with a record batch only the query is read; the batch is `call.data`.

    Raises:
        QueueError: the body or a field is wrong; the message names it.
    """
    body = call.data
    query_string = call.query_string
    if not isinstance(body, bytes):
        return _read(input_type, body, query_string)
    if len(query_string) > REMEMBERED_QUERY_LENGTH_MAX:
        return _read(input_type, None, query_string)
    remembered: _T = _read_query(input_type, query_string)
    return remembered


def _read(input_type: type[_T], body: Any, query_string: str) -> _T:
    value = read_input(input_type, body, read_query(query_string))
    for name in input_type.__struct_fields__:
        number = getattr(value, name)
        if type(number) is int and not -INT64_MAX <= number <= INT64_MAX:
            raise InvalidRequest(f"{name} does not fit into 64 bits", field=name)
    return value


@lru_cache(maxsize=REMEMBERED_QUERIES)
def _read_query(input_type: type[_T], query_string: str) -> _T:
    """Return the input that is in a query; inputs are frozen, and so may be shared."""
    return _read(input_type, None, query_string)


def read_query(text: str) -> dict[str, str]:
    """Return the parameters of a query string.

    Raises:
        InvalidRequest: it is not UTF-8, has too many parameters, or one with two values.
    """
    if not text:
        return {}
    fields: dict[str, str] = {}
    try:
        pairs = _pairs_of(text)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the query string is not UTF-8: {error.reason}") from error
    except ValueError as error:
        raise InvalidRequest(
            f"the query string has more than {QUERY_FIELDS_MAX} parameters"
        ) from error
    for name, value in pairs:
        if fields.setdefault(name, value) != value:
            raise InvalidRequest(
                f"{name} is given twice, as {fields[name]!r} and as {value!r}", field=name
            )
    return fields


def _pairs_of(text: str) -> list[tuple[str, str]]:
    """Return the parameters of a query string in their order.

    Raises:
        UnicodeDecodeError: what is percent-encoded is not UTF-8.
        ValueError: there are too many.
    """
    parts = text.split("&")
    if "%" in text or "+" in text or "" in parts or len(parts) > QUERY_FIELDS_MAX:
        return parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    # Nothing is encoded, as in most calls, and so nothing is to be decoded.
    return [(name, value) for name, _, value in [part.partition("=") for part in parts]]


def names_several(call: Call) -> bool:
    """Tell whether a call whose body may be a list of partitions has one."""
    return isinstance(call.data, dict) and "partitions" in call.data


def bearer_token(call: Call) -> str | None:
    """Return the token of `Authorization: Bearer ...`, or None; API tokens are the guard's."""
    token = call.bearer
    return None if token is None or token.startswith(API_TOKEN_PREFIX) else token


def is_cluster(call: Call) -> bool:
    """Tell whether a manager or broker of this cluster sent the call."""
    token = call.bearer
    return (
        token is not None
        and len(token) == tokens.CLUSTER_TOKEN_LENGTH
        and tokens.is_cluster_token(settings.QUEUE.cluster_secret, token)
    )


def origin_of(call: Call) -> str:
    """Return the address of the client that a call is made for.

    What a manager passes on has the address of its client, for which the cluster's token vouches.

    Returns:
        The address; empty when it is not known, and for what the cluster does for itself.
    """
    return call.told_origin if is_cluster(call) else call.client_address


def require_cluster(call: Call) -> None:
    """Let only managers and brokers of this cluster pass.

    Raises:
        UnauthorizedException: the bearer token is not the cluster's.
    """
    if not is_cluster(call):
        raise UnauthorizedException("this call needs the cluster's token")
