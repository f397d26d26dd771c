"""Whether a call may be made: who makes it, and whether that is what the call needs.

Each call says once, in its `ApiDoc`, what it needs. Views, the operations that `HotPaths` asks
without Django, and the door before long bodies all let the guard of the process judge by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings

from http_base.access import (
    ANY_RIGHT,
    CONSUME,
    KNOWN,
    KNOWN_WITH_INPUT,
    PRODUCE,
    AccessIndex,
    Holder,
    Need,
    is_api_token,
)
from http_base.apidoc import CLIENT_TOKEN
from http_base.calls import names_several, read_call, read_query, require_cluster
from http_base.tokens import PRODUCER, is_cluster_token
from myqueue.contract.errors import (
    ClientExpired,
    Forbidden,
    NotReady,
    QueueError,
    UnauthorizedException,
)
from myqueue.contract.inputs import ProduceBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import msgspec
    from django.http import HttpRequest

    from http_base.apidoc import ApiDoc
    from http_base.calls import Call
    from http_base.tokens import ClientToken

OFF = "off"
NEWS_MS = 15_000
"""Milliseconds after which every broker has heard of a new API token: with its report, of which
one may be lost."""
NO_TOKEN = "this call needs an API token as Authorization: Bearer"  # noqa: S105 - says what to send


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call."""

    holder: Holder
    client: ClientToken | None = None
    """What the token of a registration says, where the call came with one: it may do that alone."""
    is_cluster: bool = False
    """True for managers and brokers, which may do everything."""
    by_session: bool = False
    """True for a person who logged in."""
    index: AccessIndex | None = None
    """Where what the holder may do is remembered."""

    def has_role(self, need: Need) -> bool:
        """Tell whether the caller's role suffices for a need, whatever the topic."""
        return self.is_cluster or (bool(need.role) and self.holder.role >= need.role)

    def may(self, right: str, topic: str) -> bool:
        """Tell whether the caller has a right to a topic."""
        if self.client is not None:
            return topic == self.client.topic and right in (ANY_RIGHT, right_of(self.client.kind))
        if self.index is not None:
            return self.index.may(self.holder, right, topic)
        return self.holder.may(right, topic)

    def may_somewhere(self, right: str) -> bool:
        """Tell whether the caller has a right to any topic at all."""
        if self.client is not None:
            return right in (ANY_RIGHT, right_of(self.client.kind))
        return self.holder.may_somewhere(right)


CLUSTER_CALLER = Caller(Holder(origin="", name="the cluster"), is_cluster=True)


class Tokens(Protocol):
    """What a server knows of tokens."""

    def access(self) -> AccessIndex | None:
        """Return who may do what; None while no manager has told it."""

    def verify(self, text: str) -> ClientToken:
        """Return what the token of a registration says.

        Raises:
            UnauthorizedException: it is not of this cluster, overdue, or its client was deleted.
        """

    def now_ms(self) -> int:
        """Return the wall clock, in milliseconds since 1970."""

    def used(self, holder: Holder) -> None:
        """Note that an API token was used."""


class Guard:
    """Judges the calls of one server."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        secret: str,
        person: Callable[[HttpRequest], Caller | None] = lambda _: None,
    ) -> None:
        """Make a guard.

        Args:
            tokens: what is known of them.
            secret: the cluster's.
            person: returns who has logged in; may block.
        """
        self._tokens = tokens
        self._secret = secret
        self._person = person

    def judge(
        self,
        call: Call,
        doc: ApiDoc | None,
        parts: Mapping[str, Any],
        *,
        request: HttpRequest | None = None,
    ) -> Caller | None:
        """Let a call pass that came whole, or refuse it.

        Args:
            call: the request.
            doc: describes the handler; None where there is none: then its caller has to be known.
            parts: of the path, by name.
            request: the same as Django has it, with the session of a person.

        Returns:
            Who calls; None where that is left to the handler, or nobody has to be known.

        Raises:
            UnauthorizedException: it is not known who calls.
            Forbidden: whoever calls may not; the message names what is missing.
            QueueError: the input, of which the topic is part, is malformed.
        """
        need = KNOWN if doc is None else doc.access
        if need.is_open or (need.is_open_without_input and not (call.query_string or call.data)):
            return None
        if doc is not None and doc.token == CLIENT_TOKEN:
            return None  # the handler takes no call without such a token, and checks it
        if doc is not None and doc.other_inputs and names_several(call):
            return self._judge_several(call, doc, request)
        caller = self._caller(call, doc)
        if caller is None and request is not None:
            caller = self._person(request)
        if caller is None:
            raise UnauthorizedException(f"{NO_TOKEN}: {need.words}")
        if need.right and not caller.has_role(need):
            asked = _input_of(call, doc) if doc is not None and doc.input is not None else None
            require(caller, need, _topics_of(asked, parts))
            _require_own_id(caller, asked)
        else:
            require(caller, need)
        return caller

    def _judge_several(self, call: Call, doc: ApiDoc, request: HttpRequest | None) -> Caller | None:
        """Judge a call that names several partitions, each of which may have a token of its own."""
        text = call.bearer
        whole = None if text is None else self.caller_of(text)
        if whole is None and request is not None:
            whole = self._person(request)
        if whole is not None and whole.is_cluster:
            return whole
        asked: Any
        try:
            asked = read_call(call, doc.other_inputs[0])
        except QueueError as error:
            if whole is None:  # nobody is told what is wrong with an input before it is known who
                raise UnauthorizedException(f"{NO_TOKEN}: {doc.access.words}") from error
            raise
        for one in asked.partitions:
            token = asked.tokens.get(one.topic, asked.token)
            if whole is None and token is None:
                raise UnauthorizedException(f"{NO_TOKEN}: {doc.access.words}")
            caller = whole or self.client_of(token)
            require(caller, doc.access, (one.topic,))
            _require_own_id(caller, one)
        return whole

    def before_body(self, call: Call, doc: ApiDoc | None) -> None:
        """Refuse a call by what comes before its body, as far as that can be told.

        Raises:
            UnauthorizedException: it is not known who calls.
            Forbidden: whoever calls has no such right or role.
        """
        need = KNOWN if doc is None else doc.access
        if need.is_open:
            return
        query = read_query(call.query_string)
        field, bearer = query.get("token"), call.bearer
        if bearer is not None:
            caller = self.caller_of(bearer)
        elif field is not None:
            caller = self.client_of(field)
        else:
            raise UnauthorizedException(f"{NO_TOKEN}, before so long a body")
        topic = query.get("topic")
        require(caller, need, None if topic is None else (topic,))

    def client_of(self, text: str) -> Caller:
        """Return the client whose registration gave this token, which may come as a field.

        Raises:
            UnauthorizedException: it is nobody's.
            Forbidden: it is of a client whose right was taken away.
        """
        claims = self._tokens.verify(text)
        self.check_origin(claims)
        name = f"the token of {claims.kind} {claims.client_id}"
        return Caller(Holder(origin=claims.origin, name=name), client=claims)

    def caller_of(self, text: str) -> Caller:
        """Return whose bearer token this is.

        Raises:
            UnauthorizedException: it is nobody's.
            Forbidden: it is of a client whose right was taken away.
            NotReady: this server cannot tell yet.
        """
        if is_cluster_token(self._secret, text):
            return CLUSTER_CALLER
        if not is_api_token(text):
            return self.client_of(text)
        index = self._tokens.access()
        if index is None:
            raise NotReady("this server has heard no manager yet, which knows the API tokens")
        holder = index.of_token(text)
        if holder is None:
            raise UnauthorizedException("the API token is unknown, or was revoked")
        if holder.is_over(self._tokens.now_ms()):
            raise UnauthorizedException("the API token has expired")
        self._tokens.used(holder)
        return Caller(holder, index=index)

    def check_origin(self, claims: ClientToken) -> None:
        """Check that whoever registered a client still is there and still has the right.

        Raises:
            ClientExpired: it was registered when nobody had to say who registers.
            UnauthorizedException: its API token or its person is gone.
            Forbidden: the right was taken away.
            NotReady: it was registered just now, with a token that this server may not know yet.
        """
        if not claims.origin:
            raise ClientExpired(
                f"{claims.kind} {claims.client_id} registered without an API token; register again"
            )
        index = self._tokens.access()
        if index is None:
            return  # no manager was heard since the start: what was signed counts
        self._require_of_origin(index, claims, right_of(claims.kind), claims.topic)

    def require_of_origin(self, claims: ClientToken, right: str, topic: str) -> None:
        """Check that whoever registered a client has a right that its token says nothing of.

        Raises:
            QueueError: what `check_origin` raises.
            NotReady: this server cannot tell yet.
        """
        self.check_origin(claims)
        index = self._tokens.access()
        if index is None:
            raise NotReady("this server has heard no manager yet, which knows who has which right")
        self._require_of_origin(index, claims, right, topic)

    def _require_of_origin(
        self, index: AccessIndex, claims: ClientToken, right: str, topic: str
    ) -> None:
        holder = index.of_origin(claims.origin)
        age_ms = self._tokens.now_ms() - claims.issued_ms
        if holder is None and age_ms < NEWS_MS and not index.is_gone(claims.origin):
            raise NotReady(
                f"this server has not heard yet of who registered {claims.kind} {claims.client_id}"
            )
        if holder is None or holder.is_over(self._tokens.now_ms()):
            raise UnauthorizedException(
                f"the API token or user that registered {claims.kind} {claims.client_id} is not"
                " taken any more"
            )
        if not index.may(holder, right, topic):
            raise _lacks(holder.name, right, topic)

    def _caller(self, call: Call, doc: ApiDoc | None) -> Caller | None:
        bearer = call.bearer
        if bearer is not None:
            return self.caller_of(bearer)
        if doc is None or doc.input is None:
            return None
        try:
            field = getattr(_input_of(call, doc), "token", None)
        except QueueError:  # whoever is not known is not told what is wrong with an input
            return None
        return None if field is None else self.client_of(field)


class _Installed:
    """The guard of this process."""

    guard: Guard | None = None


def install(guard: Guard | None) -> None:
    """Make a guard the process's; None takes it away."""
    _Installed.guard = guard


def is_on() -> bool:
    """Tell whether it matters who calls."""
    return bool(settings.QUEUE.auth != OFF)


def current() -> Guard:
    """Return the guard of this process.

    Raises:
        NotReady: the server is starting or stopping; nobody may do anything then.
    """
    if _Installed.guard is None:
        raise NotReady("the server is starting or stopping; try again")
    return _Installed.guard


def judge(
    call: Call,
    doc: ApiDoc | None,
    parts: Mapping[str, Any],
    *,
    request: HttpRequest | None = None,
) -> Caller | None:
    """Do what the guard's `judge` does; with `QUEUE_AUTH=off` for calls that always need a caller.

    The cluster's own calls stay its own all the same.

    Raises: what `Guard.judge` raises.
    """
    need = KNOWN if doc is None else doc.access
    if need.is_open:
        return None
    if is_on() or need.is_always:
        return current().judge(call, doc, parts, request=request)
    if need.is_cluster:
        require_cluster(call)
    return None


def require(caller: Caller | None, need: Need, topics: Sequence[str] | None = ()) -> None:
    """Check that a caller has what is needed.

    Args:
        caller: who calls; None where nobody has to be known.
        need: what is needed.
        topics: that a right is needed to, all of them; None while they are not known.

    Raises:
        Forbidden: the caller has not; the message names what is missing.
    """
    if caller is None or caller.has_role(need) or need in (KNOWN, KNOWN_WITH_INPUT):
        return
    if not need.right:
        raise _forbidden(caller, need, "")
    if topics is None or need.is_anywhere:
        if not caller.may_somewhere(need.right):
            raise _forbidden(caller, need, "")
        return
    if not topics:
        raise _forbidden(caller, need, "")
    for topic in topics:
        if not caller.may(need.right, topic):
            raise _forbidden(caller, need, topic)


def check_origin(claims: ClientToken) -> None:
    """Do what the guard's `check_origin` does; nothing with `QUEUE_AUTH=off`."""
    if is_on():
        current().check_origin(claims)


def right_of(kind: str) -> str:
    """Return what a client of a kind has the right to."""
    return PRODUCE if kind == PRODUCER else CONSUME


def _input_of(call: Call, doc: ApiDoc) -> msgspec.Struct:
    assert doc.input is not None
    is_batch = doc.batches and isinstance(call.data, bytes)
    return read_call(call, ProduceBatch if is_batch else doc.input)


def _topics_of(asked: Any, parts: Mapping[str, Any]) -> list[str]:
    """Return the topics that a call names; none where it is about none in particular."""
    if "topic" in parts:
        return [parts["topic"]]
    if (topic := getattr(asked, "topic", None)) is not None:
        return [topic]
    if (topics := getattr(asked, "topics", None)) is not None:
        return list(topics)
    return [one.topic for one in getattr(asked, "partitions", None) or ()]


def _require_own_id(caller: Caller, asked: Any) -> None:
    """Let the token of a registration act under its own id alone."""
    client = caller.client
    if client is None:
        return
    for kind in ("producer", "consumer"):
        named = getattr(asked, f"{kind}_id", None)
        if named is not None and (kind, named) != (client.kind, client.client_id):
            raise UnauthorizedException(
                f"the token is of {client.kind} {client.client_id}, not of {kind} {named}"
            )


def _forbidden(caller: Caller, need: Need, topic: str) -> Forbidden:
    if need.right and not need.role:
        return _lacks(caller.holder.name, need.right, topic)
    to = f", here {topic[:260]!r}" if topic else ""
    return Forbidden(f"{caller.holder.name} lacks {need.words}{to}", missing=need.words)


def _lacks(name: str, right: str, topic: str) -> Forbidden:
    to = f"topic {topic[:260]!r}" if topic else "any topic"
    return Forbidden(f"{name} lacks the right {right} to {to}", missing=right, topic=topic or None)
